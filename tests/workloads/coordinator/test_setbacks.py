"""What of a background loop's failures is told, and for how long."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from sea_workloads.coordinator import runner
from sea_workloads.coordinator.errors import IllegalMoveError, LedgerError
from sea_workloads.coordinator.setbacks import OFTEN, Setbacks, problem_of
from sea_workloads.store.errors import AccessDeniedError

TABLE = [
    (AccessDeniedError("GET s3://b/k: denied."), 1, "StoreFails"),
    (LedgerError("The volume is full."), 1, "LedgerUnusable"),
    (IllegalMoveError("Group 1 can't."), 1, None),
    (KeyError("x"), OFTEN - 1, None),
    (KeyError("x"), OFTEN, "CoordinatorBroken"),
]


@pytest.mark.parametrize(("error", "times", "reason"), TABLE)
def test_table(error: Exception, times: int, reason: str | None) -> None:
    found = problem_of("stages", error, times)
    assert (found.reason if found else None) == reason
    if found is not None:
        assert str(error) in found.message


async def test_it_is_told_until_the_loop_has_done_its_work(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A loop that breaks again and again is told; one pass that ends well takes that back."""
    monkeypatch.setattr(runner, "AFTER_ERROR_S", 0.0)
    caplog.set_level(logging.CRITICAL)
    setbacks, told = Setbacks(), []
    passes = iter([*["breaks"] * OFTEN, "ends well", "looks"])

    async def step() -> None:
        told.append(setbacks.problem)
        if next(passes) == "breaks":
            raise KeyError("x")

    await _until_exhausted(step, setbacks)
    assert told[:OFTEN] == [None] * OFTEN
    assert told[OFTEN] is not None
    assert told[OFTEN].reason == "CoordinatorBroken"
    assert told[OFTEN + 1] is None


async def _until_exhausted(step: Callable[[], Awaitable[None]], setbacks: Setbacks) -> None:
    """`forever`, ended by the iterator's end."""
    ended = asyncio.Event()

    async def watched() -> None:
        try:
            await step()
        except RuntimeError:  # what StopIteration becomes in a coroutine
            ended.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(runner.forever("stages", watched, setbacks))
    await asyncio.wait_for(ended.wait(), 10.0)
    task.cancel()
