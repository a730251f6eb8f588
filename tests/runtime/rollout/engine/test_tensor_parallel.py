"""An engine of two workers: each fetches its own half, and what is served is what was published."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sea_runtime.rollout import weight_swap
from sea_runtime.rollout.engine_client import EngineClient, session
from sea_testing.engine import EngineProcess
from sea_testing.loopback import address
from sea_testing.publisher import Publisher
from sea_testing.reference import Reference

pytestmark = pytest.mark.component

NUMBER = 100_000
PROMPT = [7, 42, 19, 30, 11, 50, 33, 8, 9, 10, 44, 25]


@pytest.fixture
def two_workers(base_folder: Path, tmp_path: Path) -> Iterator[EngineProcess]:
    engine = EngineProcess(base_folder, address(78), tmp_path / "engine.log", {})
    engine.start(tensor_parallel=2)
    try:
        engine.wait_until_up()
        yield engine
    finally:
        engine.kill()


async def test_each_worker_fetches_its_half_and_the_whole_is_right(
    two_workers: EngineProcess, publisher: Publisher, reference: Reference
) -> None:
    """Blocks cut for two: hardly more bytes than half of the model and what both hold."""
    async with session() as http:
        engine = EngineClient(http, two_workers.url)
        for number in (NUMBER, NUMBER + 1):
            published = publisher.publish(number)
            await weight_swap.adopt(engine, published)
            reference.load(publisher.weights(number))
            turn = await engine.generate(PROMPT, max_tokens=24, temperature=1.0, stop_token_ids=[])
            expected = reference.logprobs(PROMPT, turn.token_ids)
            assert max(abs(a - b) for a, b in zip(expected, turn.logprobs, strict=True)) < 1e-3
        blocks = [block for shard in published.shards for block in shard.blocks]
        total = sum(block.nbytes for block in blocks)
        both = sum(block.nbytes for block in blocks if block.shape == block.tensor)
        workers = await engine.prefetch_status()
        assert len(workers) == 2
        # Every block that isn't whole is one worker's; the second has the padded vocabulary's end.
        assert sum(worker.nbytes for worker in workers) <= 1.001 * (total + both)
        assert max(worker.nbytes for worker in workers) <= 1.02 * (total + both) / 2
