"""An engine names the experts that computed each token: those that transformers' routers choose."""

from collections.abc import Callable

import pytest

from sea_runtime.rollout import weight_swap
from sea_runtime.rollout.engine_client import EngineClient
from sea_runtime.rollout.generation import Generation
from sea_testing.publisher import Publisher
from sea_testing.reference import NEAR_TIES, Reference, differing_experts

pytestmark = pytest.mark.component

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
    assert differing_experts([*first.experts, *second.experts], wanted[:-1]) <= NEAR_TIES
    # Once more, with all of it in the cache.
    again = await generate(engine, PROMPT, 24)
    assert again.experts == first.experts
