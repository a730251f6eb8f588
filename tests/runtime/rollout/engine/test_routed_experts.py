"""An engine names the experts that computed each token: those that transformers' routers choose."""

import asyncio
from collections.abc import Callable

import numpy as np
import pytest

from sea_runtime.rollout import weight_swap
from sea_runtime.rollout.engine_client import EngineClient, Generation
from sea_testing.engine import EngineProcess
from sea_testing.publisher import Publisher
from sea_testing.reference import Reference
from sea_testing.waiting import wait_for

pytestmark = pytest.mark.component

LONG = 400
"""Tokens of a request that is to be caught in flight."""
NEAR_TIES = 2
"""Places in which vLLM and transformers may round to another expert; other weights differ in more
than half of all."""
PROMPT = [(i * 29) % 50 + 5 for i in range(150)]
"""Several blocks of the prefix cache."""


async def generate(
    engine: EngineClient, prompt: list[int], tokens: int, experts_from: int = 0
) -> Generation:
    return await engine.generate(
        prompt,
        max_tokens=tokens,
        temperature=1.0,
        stop_token_ids=[],
        seed=0,
        experts_from=experts_from,
    )


def chosen(turn: Generation, layers: int) -> list[list[set[int]]]:
    """By token and layer; the order within a set is no router's promise."""
    named = np.frombuffer(b"".join(turn.experts), np.uint8).reshape(len(turn.experts), layers, -1)
    return [[set(map(int, layer)) for layer in token] for token in named]


def differing(found: list[list[set[int]]], wanted: list[list[set[int]]]) -> int:
    """In how many places, of tokens times layers."""
    return sum(
        a != b for x, y in zip(found, wanted, strict=True) for a, b in zip(x, y, strict=True)
    )


async def test_later_turns_name_the_experts_of_what_they_add(
    engine: EngineClient, publisher: Publisher, reference: Reference, versions: Callable[[], int]
) -> None:
    """The first turn's prompt is computed, the second's is in the prefix cache."""
    number = versions()
    await weight_swap.adopt(engine, publisher.publish(number, scale=0.02))
    first = await generate(engine, PROMPT, 24)
    prompt = [*PROMPT, *first.token_ids, 9, 8, 7]
    second = await generate(engine, prompt, 24, experts_from=len(first.experts))
    reference.load(publisher.weights(number))
    wanted = reference.experts([*prompt, *second.token_ids])
    layers = len(wanted[0])
    assert differing(chosen(first, layers) + chosen(second, layers), wanted[:-1]) <= NEAR_TIES
    # Once more, with all of it in the cache.
    again = await generate(engine, PROMPT, 24)
    assert again.experts == first.experts


async def test_a_request_in_flight_names_the_experts_of_both_versions(
    engine: EngineClient,
    engine_process: EngineProcess,
    publisher: Publisher,
    reference: Reference,
    versions: Callable[[], int],
) -> None:
    """Tokens that the old version had computed keep its experts."""
    old, new = versions(), versions()
    await weight_swap.adopt(engine, publisher.publish(old, scale=0.02))
    published = publisher.publish(new, scale=0.02)
    await weight_swap.prefetch(engine, published)
    prompt, before = PROMPT[:50], engine_process.generated_tokens()
    running = asyncio.ensure_future(generate(engine, prompt, LONG))
    await asyncio.to_thread(wait_for, "a token", lambda: engine_process.generated_tokens() - before)
    await weight_swap.adopt(engine, published)
    turn = await running
    # The token before the first one of the new version was computed by it.
    switch = len(prompt) + [*turn.versions, new].index(new) - 1
    for number, part in ((old, slice(0, switch)), (new, slice(switch, None))):
        reference.load(publisher.weights(number))
        wanted = reference.experts([*prompt, *turn.token_ids])[:-1]
        found = chosen(turn, len(wanted[0]))
        assert len(found) == len(wanted)
        assert differing(found[part], wanted[part]) <= NEAR_TIES, number
