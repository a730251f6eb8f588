"""Two real ranks with expert parallelism train, checkpoint, die, resume and export."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sea_cli.app import main
from sea_runtime.parallel.regions import Region
from sea_runtime.store.folders import download_folder
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.trainer.checkpoint.commit import Commits
from sea_runtime.trainer.errors import FencedError
from sea_runtime.wire.checkpoints import Entry
from sea_runtime.wire.trainer import TaskKind, TrainerTask
from sea_testing.fake_coordinator import FakeCoordinator
from sea_testing.ranks import COLLECTIVE_S, Ranks
from sea_testing.waiting import HANG_S, wait_for

pytestmark = pytest.mark.component

STAGE = {
    "type": "SFT",
    "sft": {
        "batchSize": 16,
        "learningRate": 2e-3,
        "warmupSteps": 4,
        "epochs": 2,
        "maxSteps": 14,
        "observationWeight": 0.5,
        "validationFraction": 0.1,
        "validationEvery": 5,
    },
}


def test_a_killed_rank_costs_no_step(
    store: ObjectStore,
    base: Path,
    coordinator: FakeCoordinator,
    ranks: Ranks,
    make_task: Callable[..., TrainerTask],
    tmp_path: Path,
) -> None:
    """Loss falls; after kill -9 of a rank the next attempt repeats the very same steps."""
    coordinator.task = make_task("sft", STAGE, checkpoint={"everySteps": 4, "exportEverySteps": 7})
    # The report of step 13 is held until rank 1 is dead. A checkpoint is postponed until the next
    # is due at most, so the one of step 4 is committed before that of step 12 begins.
    coordinator.hold_from = 13
    ranks.start(attempt=1)
    ranks.wait("twelve steps", lambda: len(coordinator.progress) >= 12)
    ranks.wait("a checkpoint", lambda: coordinator.committed)
    ranks.processes[1].send_signal(signal.SIGKILL)
    ranks.processes[1].wait(HANG_S)
    coordinator.hold_from = None
    assert ranks.exit_codes(COLLECTIVE_S / 2)[0] != 0  # its collective fails at once
    first = {row.step: row.metrics["loss"] for row in coordinator.progress}
    assert first[10] < 0.5 * first[1]

    coordinator.attempt = 2
    newest = max(one.step for one in coordinator.committed)
    coordinator.progress.clear()
    ranks.start(attempt=2)
    ranks.wait("the end of the stage", lambda: coordinator.done)
    second = {row.step: row.metrics["loss"] for row in coordinator.progress}
    assert min(second) == newest + 1
    again = first.keys() & second.keys()
    assert again
    for step in again:
        assert second[step] == pytest.approx(first[step], abs=1e-6)
    assert coordinator.committed[-1].step == 14

    _older_attempt_cannot_commit(store)
    _published_bytes_equal_export(store, coordinator, tmp_path)
    _checkpoint_equals_export(tmp_path)
    _steps_are_exported_next_to_training(store, tmp_path)
    coordinator.task = coordinator.task.model_copy(update={"kind": TaskKind.STOP})
    assert ranks.exit_codes() == [0, 0]


def _older_attempt_cannot_commit(store: Any) -> None:
    entry = Entry(step=20, version=0, manifest_key="k", bytes=1, time=0.0)
    with pytest.raises(FencedError):
        Commits(store, "s3://runs/sft", "stage", attempt=1).commit(entry, 2, None)
    body = json.loads(store.get("s3://runs/sft/stages/stage/checkpoints/head.json"))
    assert body["attempt"] == 2
    assert body["checkpoints"][-1]["step"] == 14
    manifest = json.loads(store.get(f"s3://runs/{body['checkpoints'][-1]['manifest_key']}"))
    assert manifest["ledger"]["size"] == 6
    kept = {
        one.url.split("/checkpoints/")[1].split("/")[0]
        for one in store.list("s3://runs/sft/stages/stage/checkpoints/step-")
    }
    assert kept == {one["manifest_key"].split("/")[-2] for one in body["checkpoints"]}
    assert len(kept) == 2


def _steps_are_exported_next_to_training(store: ObjectStore, tmp_path: Path) -> None:
    """The first checkpoint at or after step 14 is that of the stage's end."""
    url = "s3://runs/sft/stages/stage/exports/step-000014"
    wait_for("the export", lambda: store.exists(f"{url}/READY.json"))
    download_folder(store, url, tmp_path / "periodic")
    names = {file.name for file in (tmp_path / "periodic").iterdir()}
    assert names == {file.name for file in (tmp_path / "of-checkpoint").iterdir()}
    for name in names:
        own, other = ((tmp_path / one / name).read_bytes() for one in ("periodic", "of-checkpoint"))
        assert name == "READY.json" or own == other, name


def _checkpoint_equals_export(tmp_path: Path) -> None:
    """`sea checkpoint export` needs no trainer."""
    out = tmp_path / "of-checkpoint"
    where = ["s3://runs/sft", "--stage", "stage", "--step", "14", "--out", str(out)]
    assert main(["checkpoint", "export", *where]) == 0
    assert main(["checkpoint", "export", *where]) == 1, "the folder isn't empty"
    found, wanted = (
        {
            name: tensor
            for file in folder.glob("*.safetensors")
            for name, tensor in load_file(file).items()
        }
        for folder in (out, tmp_path / "export")
    )
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    for name in ("config.json", "tokenizer.json"):
        assert (out / name).read_text() == (tmp_path / "export" / name).read_text()
    assert json.loads((out / "READY.json").read_text())["version"] == 0


def _published_bytes_equal_export(store: Any, coordinator: Any, tmp_path: Path) -> None:
    """Over NIXL and from S3 an engine gets the tensors of the export."""
    from sea_runtime.transport import manifest
    from sea_runtime.transport.nixl_link import NixlSink
    from sea_runtime.transport.read_plan import read_of

    download_folder(store, "s3://runs/sft/stages/stage/export", tmp_path / "export")
    exported: dict[str, torch.Tensor] = {}
    for file in (tmp_path / "export").glob("*.safetensors"):
        exported |= load_file(file)
    version = coordinator.versions[-1]
    assert version.version == 1
    sink = NixlSink("test")
    found: dict[str, torch.Tensor] = {}
    for shard in version.shards:
        read = read_of(shard, {one.name: [Region.whole(one.tensor)] for one in shard.blocks})
        out = manifest.allocate(shard.nbytes)
        started = sink.begin(
            shard.nixl_metadata, shard.nixl_agent, shard.nixl_address, read.runs, out, HANG_S
        )
        sink.finish(started)
        parts = [out[one.offset : one.offset + one.nbytes] for one in shard.blocks]
        assert not manifest.corrupt(shard.blocks, parts)
        for one in shard.blocks:
            part = manifest.view(one, out)
            whole = found.setdefault(one.name, torch.empty(one.tensor, dtype=part.dtype))
            whole[manifest.region_of(one).within(Region.whole(one.tensor))] = part
        assert store.get(shard.object_url) == out[: shard.nbytes].numpy().tobytes()
    sink.close()
    assert found.keys() == exported.keys()
    for name, tensor in exported.items():
        assert torch.equal(found[name], tensor), name
    assert json.loads(store.get("s3://runs/sft/stages/stage/export/READY.json"))["version"] == 1
