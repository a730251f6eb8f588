"""A user's mistake is reported in the job's state, and the job goes on once it is corrected."""

import json
import os
from typing import Any

import pytest

from sea_api.v1alpha1.data import OnBadRow
from sea_api.v1alpha1.pods import PodTemplate
from sea_api.wire.state import Fit
from sea_testing.coordinator.job import Job
from sea_testing.coordinator.program import only_rl, only_sft
from sea_testing.coordinator.rows import SHOP_DATABASE, dialogue, task_row
from sea_testing.models import REFUSES, put_tiny_model
from sea_testing.waiting import wait_for

pytestmark = pytest.mark.component


def rl_only(job: Job) -> Any:
    return job.spec(only_rl(job.root), userModel={"engine": "Scripted"})


def told(job: Job) -> Any:
    return wait_for("the problem", lambda: job.state().problem)


def runs(job: Job) -> None:
    wait_for("the stage", lambda: job.phase() == "Running")
    wait_for("the cure", lambda: job.state().problem is None)


def test_a_file_whose_rows_are_all_skipped_is_reported(job: Job) -> None:
    job.put_rows("rl.jsonl", [task_row(1) | {"db_path": "shop/missing.json"}])
    spec = rl_only(job)
    data = spec.data.model_copy(update={"on_bad_row": OnBadRow.SKIP})
    job.start()
    job.put_spec(job.desired(spec.model_copy(update={"data": data})))
    problem = told(job)
    assert problem.reason == "NoUsableRows"
    assert "rl.jsonl" in problem.message
    job.store.put(f"{job.root}/databases/shop/missing.json", SHOP_DATABASE)
    runs(job)


def test_a_missing_bucket_is_reported(job: Job) -> None:
    job.start()
    wanted = job.desired(rl_only(job))
    job.put_spec(wanted.model_copy(update={"run_url": "s3://nowhere/x"}))
    problem = told(job)
    assert problem.reason == "StoreFails"
    assert "s3://nowhere/x" in problem.message
    job.put_spec(wanted.model_copy(update={"digest": "corrected"}))
    runs(job)


def test_a_missing_model_is_reported(job: Job) -> None:
    spec = rl_only(job)
    model = spec.model.model_copy(update={"source": f"{job.root}/model"})
    job.start()
    job.put_spec(job.desired(spec.model_copy(update={"model": model})))
    assert told(job).reason == "ModelNotFound"
    put_tiny_model(job.store, f"{job.root}/model")
    runs(job)


def test_a_shard_that_is_a_git_lfs_pointer_is_reported(job: Job) -> None:
    """Before any pod loads it; the job goes on once the file is uploaded."""
    spec = rl_only(job)
    folder = f"{job.root}/model"
    put_tiny_model(job.store, folder)
    weights = job.store.get(f"{folder}/model.safetensors")
    job.store.put(f"{folder}/model.safetensors", b"version https://git-lfs.github.com/spec/v1\n")
    model = spec.model.model_copy(update={"source": folder})
    job.start()
    job.put_spec(job.desired(spec.model_copy(update={"model": model})))
    problem = told(job)
    assert problem.reason == "ModelUnusable"
    assert "model.safetensors is a Git LFS pointer" in problem.message
    job.store.put(f"{folder}/model.safetensors", weights)
    runs(job)


def test_a_dialogue_that_the_models_template_refuses_is_reported(job: Job) -> None:
    """Before a pod with GPUs starts; the job goes on once the file is corrected."""
    put_tiny_model(job.store, f"{job.root}/model", REFUSES)
    good = dialogue(0)
    later = [*good["messages"], {"role": "system", "content": "Be brief."}, good["messages"][1]]
    job.put_rows("sft.jsonl", [good, {**good, "messages": later}])
    spec = job.spec(only_sft(job.root), userModel={"engine": "Scripted"})
    model = spec.model.model_copy(update={"source": f"{job.root}/model"})
    job.start()
    job.put_spec(job.desired(spec.model_copy(update={"model": model})))
    problem = told(job)
    assert problem.reason == "BadRow"
    assert "sft.jsonl line 2: messages[2] is a system message after the first" in problem.message
    assert not job.state().prepared
    job.put_rows("sft.jsonl", [good])
    runs(job)


def test_a_model_that_the_pods_can_not_hold_is_reported(job: Job) -> None:
    """Before a pod with GPUs starts; the job goes on once its pods have the memory."""
    spec = rl_only(job)
    job.start()

    def put(memory: str) -> None:
        template = PodTemplate(limits={"memory": memory})
        trainer = spec.trainer.model_copy(update={"gpus_per_pod": 0, "template": template})
        wanted = job.desired(spec.model_copy(update={"trainer": trainer}))
        job.put_spec(wanted.model_copy(update={"digest": memory}))

    put("256Mi")
    problem = told(job)
    assert problem.reason == "DoesNotFit"
    assert "Each pod of the trainer needs" in problem.message
    assert not job.state().prepared
    put("64Gi")
    runs(job)
    verdict = job.state().plan
    assert verdict is not None
    assert verdict.fit is Fit.FITS


def test_keys_that_the_store_refuses_are_reported(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reported before the ledger is open: opening it is what needs the store first."""
    right = os.environ["AWS_SECRET_ACCESS_KEY"]
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    job.start()
    job.put_spec(job.desired(rl_only(job)))
    problem = told(job)
    assert problem.reason == "StoreFails"
    assert "credentialsSecret" in problem.message
    job.kill()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", right)
    job.start()
    job.put_spec(job.desired(rl_only(job)))
    runs(job)


def test_a_ledger_that_cannot_be_opened_is_reported(job: Job) -> None:
    job.data_dir.mkdir(parents=True)
    ledger = job.data_dir / "ledger.sqlite"
    ledger.write_bytes(b"This is no database." * 1000)
    job.start()
    job.put_spec(job.desired(rl_only(job)))
    problem = told(job)
    assert problem.reason == "LedgerUnusable"
    assert "delete the volume" in problem.message
    ledger.unlink()
    runs(job)


def test_a_damaged_ledger_snapshot_is_reported(job: Job) -> None:
    """The download replaces nothing, and the next attempt starts from the empty ledger again."""
    folder = f"{job.run_url}/stages/rl/checkpoints"
    key = folder.removeprefix("s3://runs/") + "/step-000002-a1/manifest.json"
    entry = {"step": 2, "version": 2, "bytes": 1, "time": 1.0, "manifest_key": key}
    head = f"{folder}/head.json"
    job.store.put(head, json.dumps({"attempt": 1, "checkpoints": [entry]}).encode())
    job.store.put(f"{folder}/step-000002-a1/ledger.sqlite", b"This is no database." * 1000)
    job.start()
    job.put_spec(job.desired(rl_only(job)))
    problem = told(job)
    assert problem.reason == "LedgerUnusable"
    assert "step-000002-a1/ledger.sqlite" in problem.message
    job.store.delete(head)
    runs(job)
