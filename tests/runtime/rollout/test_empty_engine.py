"""An engine without weights serves nothing, and loads the base model if no version is left."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from sea_runtime.rollout.engine_client import ServedVersion
from sea_runtime.rollout.engine_state import EMPTY, EngineState, observe
from sea_runtime.rollout.health import heartbeat
from sea_runtime.rollout.settings import Identity, Settings
from sea_runtime.rollout.weight_updater import WeightUpdater
from sea_runtime.wire.weights import WeightQueryReply
from sea_testing.waiting import HANG_S


class Engine:
    """Says what vLLM would: version 0 until its first update, with weights or without."""

    def __init__(self, served: int, *, empty: bool) -> None:
        self.served, self.empty = served, empty
        self.terminated = asyncio.Event()

    async def is_paused(self) -> bool:
        return False

    async def version(self) -> ServedVersion:
        return ServedVersion(self.served, 7 if self.served else 0)

    async def is_empty(self) -> bool:
        return self.empty

    async def terminate(self) -> None:
        self.terminated.set()


@pytest.mark.parametrize(
    ("served", "empty", "version", "ready"),
    [(0, True, EMPTY, False), (0, False, 0, True), (3, False, 3, True)],
)
async def test_noise_is_never_ready(served: int, empty: bool, version: int, ready: bool) -> None:
    """Also where version 0 would do, and however often it is looked at."""
    engine: Any = Engine(served, empty=empty)
    state = EngineState()
    state.require(0)
    for _ in range(2):
        await observe(engine, state)
        assert (state.version, state.ready) == (version, ready)
    settings = Settings("", "t", "pod", "127.0.0.1", "rollout", "policy", 0, Path())
    beat = heartbeat(settings, Identity("pod", "life"), state)
    assert beat.adopted == (None if version == EMPTY else version)
    assert beat.adopted_attempt == (7 if served else 0)


class Coordinator:
    """Has no newer version; `replies` are its answers, the last one for ever."""

    def __init__(self, *replies: WeightQueryReply) -> None:
        self.replies = list(replies)
        self.asked: list[tuple[int, str]] = []

    async def newer_weights(
        self, stream: str, after: int, wait: float, pod: str
    ) -> WeightQueryReply:
        self.asked.append((after, pod))
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


async def test_an_empty_engine_gets_the_base_model_once_no_version_is_left() -> None:
    """Not while one exists that others are reading, or where the base model wouldn't do."""
    waits = [
        WeightQueryReply(newest=None, required=0, busy=True),
        WeightQueryReply(newest=None, required=2),
    ]
    client: Any = Coordinator(*waits, WeightQueryReply(newest=None, required=0))
    engine: Any = Engine(0, empty=True)
    state = EngineState()
    state.serves(EMPTY)
    running = asyncio.ensure_future(WeightUpdater(client, engine, state, "policy", "pod").run())
    await asyncio.wait_for(engine.terminated.wait(), HANG_S)
    running.cancel()
    await asyncio.wait([running])
    assert client.asked[: len(waits) + 1] == [(0, "pod")] * (len(waits) + 1)
    assert state.version is None
