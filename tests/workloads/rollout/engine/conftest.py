"""A real vLLM engine on the CPU, a trainer-like process that publishes versions, a reference."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from sea_devcluster.s3 import S3Server
from sea_workloads.model import tiny
from sea_workloads.rollout import engine_args
from sea_workloads.rollout.engine_client import EngineClient, session
from sea_workloads.wire.weights import ModelReply, WeightVersion

CONTEXT = 512
PUBLISHER = """
import json, sys
import torch
from safetensors.torch import load_file, save_file
from sea_workloads.transport import manifest
from sea_workloads.transport.nixl_link import NixlSource
from sea_workloads.wire.weights import Shard, WeightVersion

base = load_file(sys.argv[1] + "/model.safetensors")
names = sorted(base)
halves = [names[::2], names[1::2]]
plans = [manifest.plan({n: base[n] for n in half}) for half in halves]
buffers = [manifest.allocate(plan) for plan in plans]
sources = [NixlSource(f"rank{rank}") for rank in range(2)]
addresses = [s.register(b) for s, b in zip(sources, buffers)]
for line in sys.stdin:
    request = json.loads(line)
    torch.manual_seed(request["version"])
    scale = request.get("scale", 0.05)
    tensors = {n: base[n] + scale * torch.randn_like(base[n]) for n in names}
    save_file(tensors, request["save"])
    shards = []
    for rank, (plan, buffer, source, address) in enumerate(
        zip(plans, buffers, sources, addresses)
    ):
        entries = manifest.pack(plan, tensors, buffer)
        with open(f"{request['save']}.shard{rank}", "wb") as file:
            file.write(buffer.numpy().tobytes())
        shards.append(
            Shard(
                rank=rank,
                nbytes=buffer.numel(),
                tensors=entries,
                nixl_agent=source.name,
                nixl_metadata=source.metadata_b64(),
                nixl_address=address,
            )
        )
    if request.get("damage"):
        buffers[1][777] ^= 255
    version = WeightVersion(
        stream="policy",
        version=request["version"],
        generation=1,
        stage="rl",
        step=request["version"],
        shards=shards,
    )
    print("VERSION " + version.model_dump_json(), flush=True)
"""


class Publisher:
    """Two ranks' worth of NIXL sources in another process, as a trainer would be."""

    def __init__(self, base: Path, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", PUBLISHER, str(base)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def publish(self, version: int, **request: Any) -> WeightVersion:
        """Perturbs the base model by the version's own noise; the tensors are saved as well."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        body = {"version": version, "save": str(self.weights(version)), **request}
        self.process.stdin.write(json.dumps(body) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("VERSION "):
                return WeightVersion.model_validate_json(line.removeprefix("VERSION "))
        raise AssertionError("the publisher ended early")

    def weights(self, version: int) -> Path:
        return self.folder / f"v{version}.safetensors"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)


class Reference:
    """transformers' log-probabilities of the same model."""

    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        self._torch = torch
        self._model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self._folder = folder

    def load(self, weights: Path) -> None:
        """Takes the tensors of a safetensors file with HF names."""
        from transformers import AutoConfig, AutoModelForCausalLM

        folder = weights.with_suffix(".hf")
        folder.mkdir(exist_ok=True)
        for name in ("config.json", "generation_config.json"):
            (folder / name).write_bytes((self._folder / name).read_bytes())
        (folder / "model.safetensors").write_bytes(weights.read_bytes())
        config = AutoConfig.from_pretrained(folder)
        self._model = AutoModelForCausalLM.from_pretrained(
            folder, config=config, dtype=self._torch.float32
        ).eval()

    def logprobs(self, prompt: list[int], generated: list[int]) -> list[float]:
        """Of each generated token, given all before it."""
        torch = self._torch
        with torch.no_grad():
            logits = self._model(torch.tensor([prompt + generated])).logits[0]
        rows = torch.log_softmax(logits.float(), -1)[len(prompt) - 1 : -1]
        return [float(row[token]) for row, token in zip(rows, generated, strict=True)]


@dataclass
class EngineProcess:
    """The engine container's program, with a model that is on disk already."""

    folder: Path
    host: str
    log: Path
    variables: dict[str, str]
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{engine_args.PORT}"

    def start(self) -> None:
        reply = ModelReply(
            url="",
            name="tiny",
            precision="float32",
            context_length=CONTEXT,
            tensor_parallel=1,
            expert_parallel=False,
        )
        place = engine_args.Placement(self.folder, self.host, gpus=0)
        arguments = engine_args.arguments(reply, engine_args.read_config(self.folder), place)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sea_workloads.rollout.server", *arguments],
                env=engine_args.environment(os.environ | self.variables, place),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until_up(self, timeout_s: float = 240.0) -> None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise AssertionError(self.log.read_text()[-3000:])

    def kill(self) -> None:
        """As a container's death: every process of it, at once."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, 9)
            self.process.wait(10)


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with random weights."""
    folder = tmp_path_factory.mktemp("base")
    texts = [f"order {letter}{digit} is pending\n" for letter in "abcdefgh" for digit in range(10)]
    tiny.build(texts, folder, context_length=CONTEXT, seed=1)
    return folder


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        server.create_bucket("runs")
        yield server


@pytest.fixture(scope="session")
def engine_process(
    base_folder: Path, s3: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EngineProcess]:
    """One engine for all tests of the session; 127.77.x.y keeps parallel sessions apart."""
    pid = os.getpid()
    host = f"127.77.{pid // 250 % 250}.{pid % 250 + 1}"
    log = tmp_path_factory.mktemp("engine") / "engine.log"
    cache = {"TORCHINDUCTOR_CACHE_DIR": str(log.parent / "inductor")}  # empty, as in a new pod
    engine = EngineProcess(base_folder, host, log, s3.environment() | cache)
    engine.start()
    try:
        engine.wait_until_up()
        yield engine
    finally:
        engine.kill()


@pytest.fixture
def children_seen(engine_process: EngineProcess) -> Callable[[Awaitable[Any]], Any]:
    """Waits for something; returns the names of all processes that ran below the engine then."""

    async def watch(work: Awaitable[Any]) -> set[str]:
        assert engine_process.process is not None
        root = psutil.Process(engine_process.process.pid)
        running = asyncio.ensure_future(work)
        names: set[str] = set()
        while not running.done():
            names |= names_below(root)
            await asyncio.wait([running], timeout=0.02)
        await running
        return names | names_below(root)

    return watch


def names_below(root: psutil.Process) -> set[str]:
    names = set()
    for process in root.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            names.add(process.name())
    return names


@pytest_asyncio.fixture
async def engine(engine_process: EngineProcess) -> AsyncIterator[EngineClient]:
    async with session() as http:
        yield EngineClient(http, engine_process.url)


@pytest.fixture(scope="session")
def make_publisher(
    base_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Publisher]]:
    made: list[Publisher] = []

    def make() -> Publisher:
        made.append(Publisher(base_folder, tmp_path_factory.mktemp("published")))
        return made[-1]

    yield make
    for publisher in made:
        publisher.kill()


@pytest.fixture(scope="session")
def publisher(make_publisher: Callable[[], Publisher]) -> Publisher:
    return make_publisher()


@pytest.fixture(scope="session")
def reference(base_folder: Path) -> Reference:
    return Reference(base_folder)


@pytest.fixture
def versions() -> Callable[[], int]:
    """Version numbers that no other test of the session has used."""

    def fresh() -> int:
        _used[0] += 1
        return _used[0]

    return fresh


_used = [0]
