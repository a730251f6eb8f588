"""An engine of two workers that starts empty and late: the first engine has what it needs."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sea_runtime.rollout import weight_swap
from sea_runtime.rollout.dead_engine_core import EXIT_CODE
from sea_runtime.rollout.engine_client import EngineClient, session
from sea_runtime.rollout.engine_state import EMPTY, EngineState, observe
from sea_runtime.rollout.weight_swap import Timings
from sea_runtime.transport import layouts
from sea_runtime.wire.weights import EngineCopy, ShardLayout, WeightVersion
from sea_testing.engine import EngineProcess
from sea_testing.loopback import address
from sea_testing.publisher import Publisher
from sea_testing.reference import Reference
from sea_testing.waiting import HANG_S

pytestmark = pytest.mark.component

NUMBER = 100_000
PROMPT = [7, 42, 19, 30, 11, 50, 33, 8, 9, 10, 44, 25]


@pytest.fixture
def two_workers(base_folder: Path, tmp_path: Path) -> Iterator[EngineProcess]:
    """Its folder has no weights."""
    folder = tmp_path / "model"
    shutil.copytree(base_folder, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    engine = EngineProcess(folder, address(78), tmp_path / "engine.log", {})
    engine.start(tensor_parallel=2, empty=True)
    try:
        engine.wait_until_up()
        yield engine
    finally:
        engine.kill()


async def adopted(
    engine: EngineClient,
    published: WeightVersion,
    publisher: Publisher,
    reference: Reference,
    asked: list[str],
) -> Timings:
    """After an update whose log-probabilities are those of transformers.

    The version only names its layouts; `asked` gets those that the engine asks for.
    """

    async def layout(digest: str) -> ShardLayout:
        asked.append(digest)
        return layouts.layouts_of(published)[digest]

    timings = await weight_swap.adopt(engine, layouts.compact(published), layout=layout)
    reference.load(publisher.weights(published.version))
    turn = await engine.generate(PROMPT, max_tokens=24, temperature=1.0, stop_token_ids=[], seed=0)
    expected = reference.logprobs(PROMPT, turn.token_ids)
    assert max(abs(a - b) for a, b in zip(expected, turn.logprobs, strict=True)) < 1e-3
    return timings


async def from_peer(engine: EngineClient, version: WeightVersion) -> WeightVersion:
    """The version with the engine's copy of it, as the coordinator hands it out."""
    copy = EngineCopy(
        pod="early",
        version=version.version,
        attempt=version.attempt,
        workers=await engine.served_copy(),
    )
    return version.model_copy(update={"peers": [copy]})


async def test_a_late_engine_reads_from_a_peer_of_another_layout_while_the_trainer_hangs(
    two_workers: EngineProcess, engine: EngineClient, publisher: Publisher, reference: Reference
) -> None:
    """Then, from the trainer, each worker fetches hardly more than its half."""
    first = publisher.publish(NUMBER).model_copy(update={"relay": True})
    await adopted(engine, first, publisher, reference, [])
    offered = await from_peer(engine, first)
    async with session() as http:
        late, state = EngineClient(http, two_workers.url), EngineState()
        asked: list[str] = []
        await observe(late, state)
        assert state.version == EMPTY
        publisher.stop()
        try:
            timings = await adopted(late, offered, publisher, reference, asked)
        finally:
            publisher.resume()
        assert (timings.transport, timings.failed) == ("Peer", ())
        await observe(late, state)
        assert state.version == NUMBER

        published = publisher.publish(NUMBER + 1).model_copy(update={"relay": True})
        timings = await adopted(late, published, publisher, reference, asked)
        assert timings.transport == "NIXL"
        # Of both versions together, once.
        assert sorted(asked) == sorted(layouts.layouts_of(published))
        await each_worker_has_its_half(late, published)

        # The other way: two workers serve one.
        back = await from_peer(late, published)
        assert (await adopted(engine, back, publisher, reference, [])).transport == "Peer"

        # Both workers end within the call that asks for it. vLLM's core outlives them for a moment
        # and reports it.
        await late.terminate()
        assert two_workers.process is not None
        assert await asyncio.to_thread(two_workers.process.wait, HANG_S) == EXIT_CODE
        assert "vLLM's engine core failed" in two_workers.log.read_text()


async def each_worker_has_its_half(engine: EngineClient, published: WeightVersion) -> None:
    blocks = [block for shard in published.shards for block in shard.blocks]
    total = sum(block.nbytes for block in blocks)
    both = sum(block.nbytes for block in blocks if block.shape == block.tensor)
    workers = await engine.prefetch_status()
    assert len(workers) == 2
    # Every block that isn't whole is one worker's; the second has the padded vocabulary's end.
    assert sum(worker.nbytes for worker in workers) <= 1.001 * (total + both)
    assert max(worker.nbytes for worker in workers) <= 1.02 * (total + both) / 2
