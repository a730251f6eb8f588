"""Real engine, real NIXL, versions from another process: what is served is what was published."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from sea_runtime.rollout import weight_swap
from sea_runtime.rollout.engine_client import EngineClient
from sea_runtime.rollout.engine_state import recover
from sea_runtime.rollout.generation import Generation
from sea_runtime.rollout.weight_swap import PrefetchError

pytestmark = pytest.mark.component

TOLERANCE = 1e-3
PROMPT = [7, 42, 19, 30, 11, 50, 33, 8, 9, 10, 44, 25]


async def generate(engine: EngineClient, prompt: list[int], tokens: int) -> Generation:
    return await engine.generate(prompt, max_tokens=tokens, temperature=1.0, stop_token_ids=[])


def difference(reference: Any, prompt: list[int], turn: Generation) -> float:
    expected = reference.logprobs(prompt, turn.token_ids)
    return max(abs(a - b) for a, b in zip(expected, turn.logprobs, strict=True))


async def test_three_updates_each_equal_transformers(
    engine: EngineClient, publisher: Any, reference: Any, versions: Callable[[], int]
) -> None:
    """Also for a prompt that was in the prefix cache before."""
    prompt = [(i * 37) % 50 + 5 for i in range(200)]
    for _ in range(3):
        number = versions()
        published = publisher.publish(number)
        timings = await weight_swap.adopt(engine, published)
        assert timings.transport == "NIXL"
        assert await engine.version() == number
        assert not await engine.is_paused()
        reference.load(publisher.weights(number))
        for each in (PROMPT, prompt):
            turn = await generate(engine, each, 24)
            assert turn.versions == [number] * len(turn.token_ids)
            assert difference(reference, each, turn) < TOLERANCE


async def test_request_in_flight_survives_an_update(
    engine: EngineClient, publisher: Any, reference: Any, versions: Callable[[], int]
) -> None:
    """Its tokens say which version made them, and each version's log-probabilities are right."""
    old, new = versions(), versions()
    await weight_swap.adopt(engine, publisher.publish(old, scale=0.02))
    published = publisher.publish(new, scale=0.02)
    await weight_swap.prefetch(engine, published)
    running = asyncio.ensure_future(generate(engine, PROMPT, 400))
    await generate(engine, PROMPT, 4)  # batched with it, so that it has made tokens by now
    await engine.pause()  # nothing is generated any more until it is updated
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


async def test_damaged_shard_is_not_applied(
    engine: EngineClient, publisher: Any, versions: Callable[[], int]
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
    make_publisher: Callable[[], Any],
    publisher: Any,
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
    assert await engine.version() == number


async def test_left_paused_is_resumed(engine: EngineClient) -> None:
    """An updater that died between two updates."""
    await engine.pause()
    await recover(engine)
    assert not await engine.is_paused()


async def test_dead_source_with_an_anchor_comes_from_the_object_store(
    engine: EngineClient,
    make_publisher: Callable[[], Any],
    reference: Any,
    versions: Callable[[], int],
    anchored: Callable[..., Any],
) -> None:
    """The same bytes lie in S3: transport ObjectStore, same log-probabilities."""
    number = versions()
    dead = make_publisher()
    published = anchored(dead, dead.publish(number))
    dead.kill()
    timings = await weight_swap.adopt(engine, published)
    assert timings.transport == "ObjectStore"
    reference.load(dead.weights(number))
    turn = await generate(engine, PROMPT, 16)
    assert difference(reference, PROMPT, turn) < TOLERANCE
