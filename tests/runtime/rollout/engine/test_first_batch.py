"""A fresh engine's first requests: nothing is compiled, log-probabilities are exact."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sea_runtime.rollout.engine_client import EngineClient
from sea_testing.reference import Reference

pytestmark = pytest.mark.component


async def test_first_batch_starts_no_compiler(
    engine: EngineClient, children_seen: Callable[..., Any]
) -> None:
    """torch.compile would start g++ below the engine and leave health probes unanswered."""
    requests = (
        engine.generate([7 + i, 42, 99], max_tokens=8, temperature=1.0, stop_token_ids=[], seed=i)
        for i in range(16)
    )
    programs = await children_seen(asyncio.gather(*requests))
    assert programs
    assert not [name for name in programs if name.startswith(("c++", "g++", "cc1", "gcc"))]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
async def test_log_probabilities_belong_to_the_sampled_distribution(
    engine: EngineClient, base_folder: Path, temperature: float
) -> None:
    """The trainer divides by the temperature too; else every importance weight would be wrong."""
    prompt = [7, 42, 99]
    turn = await engine.generate(
        prompt, max_tokens=16, temperature=temperature, stop_token_ids=[], seed=0
    )
    expected = Reference(base_folder).logprobs(prompt, turn.token_ids, temperature)
    assert turn.logprobs == pytest.approx(expected, abs=1e-4)
