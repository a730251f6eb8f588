"""A real vLLM engine on the CPU, a trainer-like process that publishes versions, a reference."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from sea_data.tiny_model import model_folder
from sea_devcluster.s3 import S3Server
from sea_runtime.rollout.engine_client import EngineClient, session
from sea_runtime.wire.weights import WeightVersion
from sea_testing.engine import CONTEXT, EngineProcess
from sea_testing.loopback import address
from sea_testing.publisher import Publisher
from sea_testing.reference import Reference


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with random weights."""
    folder = tmp_path_factory.mktemp("base")
    texts = [f"order {letter}{digit} is pending\n" for letter in "abcdefgh" for digit in range(10)]
    model_folder.build(texts, folder, context_length=CONTEXT, seed=1)
    return folder


@pytest.fixture(scope="session")
def engine_process(
    base_folder: Path, s3: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EngineProcess]:
    """One engine for all tests of the session."""
    log = tmp_path_factory.mktemp("engine") / "engine.log"
    cache = {"TORCHINDUCTOR_CACHE_DIR": str(log.parent / "inductor")}  # empty, as in a new pod
    engine = EngineProcess(base_folder, address(77), log, s3.environment() | cache)
    engine.start(returns_experts=True)
    try:
        engine.wait_until_up()
        yield engine
    finally:
        engine.kill()


@pytest.fixture
def children_seen(engine_process: EngineProcess) -> Callable[[Awaitable[Any]], Any]:
    """Awaits something; returns the names of all processes that ran below the engine meanwhile."""

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
def anchored(s3: S3Server) -> Callable[[Publisher, WeightVersion], WeightVersion]:
    """Uploads a version's bytes as the publisher saved them; returns it with their addresses."""

    def upload(publisher: Publisher, version: WeightVersion) -> WeightVersion:
        shards = []
        for shard in version.shards:
            key = f"weights/v{version.version}/shard-{shard.rank}.bin"
            s3.client().upload_file(str(publisher.shard(version.version, shard.rank)), "runs", key)
            shards.append(shard.model_copy(update={"object_url": f"s3://runs/{key}"}))
        return version.model_copy(update={"shards": shards})

    return upload


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
