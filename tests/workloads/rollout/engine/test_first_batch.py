"""A fresh engine answers its first requests without compiling anything."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from sea_workloads.rollout.engine_client import EngineClient

pytestmark = [pytest.mark.component, pytest.mark.timeout(300)]


async def test_first_batch_starts_no_compiler(
    engine: EngineClient, children_seen: Callable[..., Any]
) -> None:
    """torch.compile would start g++ below the engine and leave health probes unanswered."""
    requests = (
        engine.generate([7 + i, 42, 99], max_tokens=8, temperature=1.0, stop_token_ids=[])
        for i in range(16)
    )
    programs = await children_seen(asyncio.gather(*requests))
    assert programs
    assert not [name for name in programs if name.startswith(("c++", "g++", "cc1", "gcc"))]
