"""An engine that holds other weights than it was given never serves them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest
import pytest_asyncio

from sea_runtime.rollout import weight_swap
from sea_runtime.rollout.dead_engine_core import EXIT_CODE
from sea_runtime.rollout.engine_client import EngineClient, EngineError, session
from sea_runtime.rollout.weight_swap import WrongWeightsError
from sea_testing import damaging_engine
from sea_testing.engine import EngineProcess
from sea_testing.loopback import address
from sea_testing.publisher import Publisher
from sea_testing.waiting import HANG_S

pytestmark = pytest.mark.component

PROMPT = [7, 42, 19, 30]
FIRST = 300_000
"""No other test of the session uses versions from here on."""
NORM = "model.layers.1.input_layernorm.weight"


@pytest.fixture(scope="module")
def process(base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    log = tmp_path_factory.mktemp("damaging") / "engine.log"
    engine = EngineProcess(base_folder, address(79), log, {}, (damaging_engine.__file__,))
    engine.start()
    try:
        engine.wait_until_up()
        yield engine
    finally:
        engine.kill()


@pytest_asyncio.fixture
async def damaging(process: EngineProcess) -> AsyncIterator[EngineClient]:
    async with session() as http:
        yield EngineClient(http, process.url)


async def test_wrong_weights_are_noticed_before_they_serve(
    damaging: EngineClient,
    process: EngineProcess,
    publisher: Publisher,
) -> None:
    """One flipped bit of one parameter; the engine is terminated while it is still paused.

    The updates before were right, by the sums of every parameter, also of those that vLLM packs
    on a CPU: the first is always checked, others as the trainer says.
    """
    numbers = count(FIRST)
    for check in (False, False, True):
        published = publisher.publish(next(numbers)).model_copy(update={"check": check})
        await weight_swap.adopt(damaging, published)
        (status,) = await damaging.prefetch_status()
        assert status.check == (check or published.version == FIRST)
    await damaging._rpc("sea_damage", NORM)
    # Unchecked, nobody notices: that is what `checkEvery` trades.
    unnoticed = publisher.publish(next(numbers))
    await weight_swap.adopt(damaging, unnoticed)
    await damaging._rpc("sea_damage", NORM)
    published = publisher.publish(next(numbers)).model_copy(update={"check": True})
    with pytest.raises(WrongWeightsError, match=NORM) as caught:
        await weight_swap.adopt(damaging, published)
    assert caught.value.tensors == [NORM]
    assert process.process is not None
    # The worker ended within the call that asked for it, so its server waits for an answer.
    assert await asyncio.to_thread(process.process.wait, HANG_S) == EXIT_CODE
    assert "EngineCore ended with exit code 70" in process.log.read_text()
    with pytest.raises(EngineError):
        await damaging.generate(PROMPT, max_tokens=1, temperature=1.0, stop_token_ids=[], seed=0)
