"""Fixtures of the trainer's tests: a real S3 server, a few-line coordinator, two real ranks."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import sea_testing
from sea_api.v1alpha1.job import Spec
from sea_devcluster.s3 import S3Server
from sea_runtime.store.folders import upload_folder
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.wire.trainer import TaskKind, TrainerTask
from sea_testing.fake_coordinator import FakeCoordinator
from sea_testing.ranks import Ranks
from sea_testing.waiting import HANG_S

BUCKET = "s3://runs"
HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def run_probe() -> Callable[..., Any]:
    """Runs a program of this folder without a device; the JSON object that it prints last."""

    def run(name: str, *arguments: object, given: str = "") -> Any:
        support = str(Path(*sea_testing.__path__).parent)
        paths = os.pathsep.join([support, *filter(None, [os.environ.get("PYTHONPATH")])])
        no_device = {"CUDA_VISIBLE_DEVICES": "", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(HERE / name), *map(str, arguments)],
            env=os.environ | no_device | {"PYTHONPATH": paths},
            input=given,
            capture_output=True,
            text=True,
            timeout=HANG_S,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture(scope="session")
def s3(s3: S3Server) -> S3Server:
    """For this process too: `store` lasts as long as the session."""
    os.environ.update(s3.environment())
    return s3


@pytest.fixture(scope="session")
def store(s3: S3Server) -> ObjectStore:
    return ObjectStore(retry_timeout=HANG_S)


@pytest.fixture(scope="session")
def base(store: ObjectStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model and shop dialogues, in S3 below `base/` and `data/`; returns the folder."""
    from sea_data.formats import sft, shop_dataset
    from sea_data.tiny_model import model_folder, tokenizer

    found = dict(
        shop_dataset.files(shop_dataset.Sizes(dialogues=240, train_tasks=1, test_tasks=1), 0)
    )
    texts = {name: "\n".join(found[name]).encode() for name in ("sft.jsonl", "user_sft.jsonl")}
    dialogues = [
        dialogue
        for name, body in texts.items()
        for dialogue in sft.load([(name, body.splitlines())]).dialogues
    ]
    folder = tmp_path_factory.mktemp("base")
    model_folder.build(tokenizer.texts([one.messages for one in dialogues]), folder, 512)
    upload_folder(store, folder, f"{BUCKET}/base")
    for name, body in texts.items():
        store.put(f"{BUCKET}/data/{name}", body)
    return folder


@pytest.fixture
def coordinator() -> Iterator[FakeCoordinator]:
    with FakeCoordinator() as fake:
        yield fake


@pytest.fixture
def ranks(tmp_path: Path, coordinator: FakeCoordinator) -> Iterator[Ranks]:
    both = Ranks(tmp_path, coordinator.url)
    try:
        yield both
    finally:
        both.kill()


@pytest.fixture(scope="session")
def make_task() -> Callable[..., TrainerTask]:
    """A task for one stage of a two-pod job; `run` names its folder in the bucket."""

    def make(run: str, stage: dict[str, Any], **overrides: Any) -> TrainerTask:
        # The default turn is longer than this model's context.
        rl = {"rl": {"maxTokensPerTurn": 64, **stage["rl"]}} if "rl" in stage else {}
        spec = {
            "model": {
                "name": "tiny",
                "source": "builtin:tiny",
                "precision": "FP32",
                "contextLength": 512,
            },
            "storage": {"url": BUCKET},
            "data": {"sft": [f"{BUCKET}/data/sft.jsonl"], "rl": [f"{BUCKET}/data/rl.jsonl"]},
            "domains": ["shop"],
            "stages": [{"name": "stage", **stage, **rl}],
            "trainer": {"replicas": 2, "gpusPerPod": 0, "parallelism": {"expert": 2}},
            **overrides,
        }
        return TrainerTask(
            kind=TaskKind.RL if "rl" in stage else TaskKind.SFT,
            stage="stage",
            stage_index=0,
            stream="policy",
            initial_model=f"{BUCKET}/base",
            run_url=f"{BUCKET}/{run}",
            first_version=0,
            spec=Spec.model_validate(spec),
        )

    return make
