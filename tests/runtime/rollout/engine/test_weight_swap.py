"""Real engine, real NIXL, versions from another process: what is served is what was published."""

import asyncio
from collections.abc import Callable

import pytest

from sea_runtime.rollout import weight_swap
from sea_runtime.rollout.engine_client import EngineClient, Generation
from sea_runtime.rollout.engine_state import recover
from sea_runtime.rollout.weight_swap import PrefetchError
from sea_runtime.wire.weights import WeightVersion
from sea_testing.engine import EngineProcess
from sea_testing.publisher import Publisher
from sea_testing.reference import Reference
from sea_testing.waiting import wait_for

pytestmark = pytest.mark.component

TOLERANCE = 1e-3
LONG = 400
"""Tokens of a request that is to be caught in flight."""
PROMPT = [7, 42, 19, 30, 11, 50, 33, 8, 9, 10, 44, 25]


async def generate(engine: EngineClient, prompt: list[int], tokens: int) -> Generation:
    return await engine.generate(
        prompt, max_tokens=tokens, temperature=1.0, stop_token_ids=[], seed=0
    )


def difference(reference: Reference, prompt: list[int], turn: Generation) -> float:
    expected = reference.logprobs(prompt, turn.token_ids)
    return max(abs(a - b) for a, b in zip(expected, turn.logprobs, strict=True))


async def test_three_updates_each_equal_transformers(
    engine: EngineClient, publisher: Publisher, reference: Reference, versions: Callable[[], int]
) -> None:
    """Also for a prompt that was in the prefix cache before."""
    prompt = [(i * 37) % 50 + 5 for i in range(200)]
    for _ in range(3):
        number = versions()
        published = publisher.publish(number)
        timings = await weight_swap.adopt(engine, published)
        assert timings.transport == "NIXL"
        assert (await engine.version()).number == number
        assert not await engine.is_paused()
        reference.load(publisher.weights(number))
        for each in (PROMPT, prompt):
            turn = await generate(engine, each, 24)
            assert turn.versions == [number] * len(turn.token_ids)
            assert difference(reference, each, turn) < TOLERANCE


async def paused_in_flight(
    engine: EngineClient, process: EngineProcess
) -> asyncio.Future[Generation]:
    """A request that has some of its tokens and not all; the engine is paused."""
    while True:
        before = process.generated_tokens()

        def made(before: int = before) -> int:
            return process.generated_tokens() - before

        running = asyncio.ensure_future(generate(engine, PROMPT, LONG))
        await asyncio.to_thread(wait_for, "the request's first token", made)
        await engine.pause()
        # A busy API server counts tokens later than its core makes them.
        await asyncio.to_thread(wait_for, "the count to settle", lambda: made() == made())
        if made() < LONG // 2:
            return running
        # This machine slept in between: the request may be finished.
        await engine.resume()
        await running


async def test_request_in_flight_survives_an_update(
    engine: EngineClient,
    engine_process: EngineProcess,
    publisher: Publisher,
    reference: Reference,
    versions: Callable[[], int],
) -> None:
    """Its tokens say which version made them, and each version's log-probabilities are right."""
    old, new = versions(), versions()
    await weight_swap.adopt(engine, publisher.publish(old, scale=0.02))
    published = publisher.publish(new, scale=0.02)
    await weight_swap.prefetch(engine, published)
    running = await paused_in_flight(engine, engine_process)
    await weight_swap.adopt(engine, published)
    turn = await running
    assert set(turn.versions) == {old, new}
    assert turn.versions == sorted(turn.versions)
    switch = turn.versions.index(new)
    for number, part in ((old, slice(0, switch)), (new, slice(switch, None))):
        reference.load(publisher.weights(number))
        expected = reference.logprobs(PROMPT, turn.token_ids)[part]
        pairs = zip(expected, turn.logprobs[part], strict=True)
        assert max(abs(a - b) for a, b in pairs) < TOLERANCE


@pytest.mark.parametrize("keep", [False, True])
async def test_a_prefix_of_older_weights_is_read_only_if_caches_are_kept(
    engine: EngineClient,
    publisher: Publisher,
    reference: Reference,
    versions: Callable[[], int],
    keep: bool,
) -> None:
    """The prompt is in the prefix cache when the update comes; dropped, all is as in a new engine.

    Kept, the tokens are labeled with the new version, and differ from it: `weights.keepCache`.
    """
    prompt = [(i * 31) % 50 + 5 for i in range(200)]
    await weight_swap.adopt(engine, publisher.publish(versions(), scale=0.02))
    await generate(engine, prompt, 4)
    number = versions()
    published = publisher.publish(number, scale=0.02).model_copy(update={"keep_cache": keep})
    await weight_swap.adopt(engine, published)
    turn = await generate(engine, prompt, 24)
    assert turn.versions == [number] * len(turn.token_ids)
    reference.load(publisher.weights(number))
    assert (difference(reference, prompt, turn) > TOLERANCE) == keep
    # What was computed before it would be found by the tests that follow.
    await weight_swap.adopt(engine, publisher.publish(versions()))


async def test_damaged_shard_is_not_applied(
    engine: EngineClient, publisher: Publisher, versions: Callable[[], int]
) -> None:
    """The engine keeps serving the old version, and is never paused."""
    before = await engine.version()
    with pytest.raises(PrefetchError, match="wrong checksums"):
        await weight_swap.adopt(engine, publisher.publish(versions(), damage=True))
    assert await engine.version() == before
    assert not await engine.is_paused()
    assert len((await generate(engine, PROMPT, 4)).token_ids) == 4


async def test_dead_source_leaves_the_engine_as_it_was(
    engine: EngineClient,
    make_publisher: Callable[[], Publisher],
    publisher: Publisher,
    versions: Callable[[], int],
) -> None:
    """A trainer that died before the read; the next one's version is adopted."""
    dead = make_publisher()
    published = dead.publish(versions())
    dead.kill()
    before = await engine.version()
    with pytest.raises(PrefetchError, match="NIXL"):
        await weight_swap.adopt(engine, published)
    assert await engine.version() == before
    number = versions()
    await weight_swap.adopt(engine, publisher.publish(number))
    assert (await engine.version()).number == number


async def test_left_paused_is_resumed(engine: EngineClient) -> None:
    """An updater that died between two updates."""
    await engine.pause()
    await recover(engine)
    assert not await engine.is_paused()


async def test_dead_source_with_an_anchor_comes_from_the_object_store(
    engine: EngineClient,
    make_publisher: Callable[[], Publisher],
    reference: Reference,
    versions: Callable[[], int],
    anchored: Callable[[Publisher, WeightVersion], WeightVersion],
) -> None:
    """The same bytes are in S3: transport ObjectStore, same log-probabilities."""
    number = versions()
    dead = make_publisher()
    published = anchored(dead, dead.publish(number))
    dead.kill()
    timings = await weight_swap.adopt(engine, published)
    assert timings.transport == "ObjectStore"
    reference.load(dead.weights(number))
    turn = await generate(engine, PROMPT, 16)
    assert difference(reference, PROMPT, turn) < TOLERANCE
