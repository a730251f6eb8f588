"""Fixtures of the trainer's tests: a real S3 server, a few-line coordinator, two real ranks."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sea_api.v1alpha1.job import Spec
from sea_devcluster.s3 import S3Server
from sea_workloads.store.s3 import ObjectStore
from sea_workloads.wire.trainer import TaskKind, TrainerTask

HERE = Path(__file__).parent
BUCKET = "s3://runs"


def load_fake() -> Any:
    place = importlib.util.spec_from_file_location(
        "trainer_fake_coordinator", HERE / "fake_coordinator.py"
    )
    assert place is not None
    assert place.loader is not None
    module = importlib.util.module_from_spec(place)
    sys.modules[place.name] = module
    place.loader.exec_module(module)
    return module


def wait_for(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.05)
    return value


def free_port(address: str) -> int:
    with socket.create_server((address, 0)) as server:
        return int(server.getsockname()[1])


class Ranks:
    """Two training processes as in two pods, each with an address and a folder of its own."""

    def __init__(self, folder: Path, url: str, world: int = 2) -> None:
        self.folder, self.url, self.world = folder, url, world
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, generation: int) -> None:
        port = free_port("127.0.0.1")
        self.logs = [self.folder / f"g{generation}-r{rank}.log" for rank in range(self.world)]
        self.processes = [self._one(rank, generation, port) for rank in range(self.world)]

    def _one(self, rank: int, generation: int, port: int) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "RANK": str(rank),
            "WORLD_SIZE": str(self.world),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "SEA_GENERATION": str(generation),
            "SEA_COLLECTIVE_TIMEOUT_S": "60",
            "POD_NAME": f"job-trainer-{rank}",
            "POD_IP": f"127.0.0.{rank + 1}",
            "SEA_COORDINATOR_URL": self.url,
            "SEA_TOKEN": "token",
            "SEA_DATA_DIR": str(self.folder / f"pod-{rank}"),
            "OMP_NUM_THREADS": "1",
        }
        with self.logs[rank].open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "sea_workloads.trainer.process"],
                env=environment,
                stdout=log,
                stderr=log,
            )

    def log(self) -> str:
        return "\n".join(path.read_text()[-6000:] for path in self.logs)

    def alive(self) -> bool:
        ended = [p.returncode for p in self.processes if p.poll() is not None]
        assert not ended, f"ended with {ended}\n{self.log()}"
        return True

    def wait(self, condition: Callable[[], Any], seconds: float, what: str) -> Any:
        return wait_for(lambda: self.alive() and condition(), seconds, what)

    def exit_codes(self, seconds: float = 30.0) -> list[int]:
        return [process.wait(seconds) for process in self.processes]

    def kill(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGKILL)
            process.wait(10)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        server.create_bucket("runs")
        os.environ.update(server.environment())
        yield server


@pytest.fixture(scope="session")
def store(s3: S3Server) -> ObjectStore:
    return ObjectStore(patience=30.0)


@pytest.fixture(scope="session")
def base(store: ObjectStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model and shop dialogues, in S3 below `base/` and `data/`; returns the folder."""
    from sea_workloads.data import sft, shop
    from sea_workloads.model import corpus, tiny

    found = dict(shop.files(shop.Sizes(dialogues=240, train_tasks=1, test_tasks=1), 0))
    texts = {name: "\n".join(found[name]).encode() for name in ("sft.jsonl", "user_sft.jsonl")}
    dialogues = [
        dialogue
        for name, body in texts.items()
        for dialogue in sft.load([(name, body.splitlines())]).dialogues
    ]
    folder = tmp_path_factory.mktemp("base")
    tiny.build(corpus.texts([one.messages for one in dialogues]), folder, 512)
    store.upload_folder(folder, f"{BUCKET}/base")
    for name, body in texts.items():
        store.put(f"{BUCKET}/data/{name}", body)
    return folder


@pytest.fixture
def coordinator() -> Iterator[Any]:
    with load_fake().FakeCoordinator() as fake:
        yield fake


@pytest.fixture
def ranks(tmp_path: Path, coordinator: Any) -> Iterator[Ranks]:
    both = Ranks(tmp_path, coordinator.url)
    try:
        yield both
    finally:
        both.kill()


@pytest.fixture
def make_task() -> Callable[..., TrainerTask]:
    """A task for one stage of a two-pod job; `run` names its folder in the bucket."""

    def make(run: str, stage: dict[str, Any], **overrides: Any) -> TrainerTask:
        spec = {
            "model": {
                "name": "tiny",
                "source": "builtin:tiny",
                "precision": "Fp32",
                "contextLength": 512,
            },
            "storage": {"url": BUCKET},
            "data": {"sft": [f"{BUCKET}/data/sft.jsonl"], "rl": [f"{BUCKET}/data/rl.jsonl"]},
            "domains": ["shop"],
            "stages": [{"name": "stage", **stage}],
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


@pytest.fixture
def waiting() -> Callable[..., Any]:
    return wait_for
