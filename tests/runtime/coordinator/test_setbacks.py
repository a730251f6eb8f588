"""What of a background loop's failures is told, and for how long."""

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from sea_data.object_store import AccessDeniedError
from sea_runtime.coordinator import basemodel, preparing, runner
from sea_runtime.coordinator.data import check
from sea_runtime.coordinator.data.problems import DataProblem
from sea_runtime.coordinator.errors import IllegalMoveError, LedgerError
from sea_runtime.coordinator.setbacks import OFTEN, Setbacks, problem_of
from sea_testing.coordinator import inprocess as kit
from sea_testing.waiting import HANG_S

TABLE = [
    (AccessDeniedError("GET s3://b/k: denied."), 1, "StoreFails"),
    (LedgerError("The volume is full."), 1, "LedgerUnusable"),
    (DataProblem("ModelNotFound", "s3://b/m has no config.json."), 1, "ModelNotFound"),
    (sqlite3.OperationalError("database or disk is full"), 1, "LedgerUnusable"),
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
    await asyncio.wait_for(ended.wait(), HANG_S)
    task.cancel()


def test_the_same_failure_again_is_no_news() -> None:
    setbacks = Setbacks()
    assert setbacks.failed("data", AccessDeniedError("GET s3://b/k: denied."))
    assert not setbacks.failed("data", AccessDeniedError("GET s3://b/k: denied."))
    assert setbacks.failed("data", AccessDeniedError("GET s3://b/other: denied."))


async def test_a_missing_model_is_told_all_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only between two attempts to find it."""
    core = kit.coordinator(tmp_path, kit.desired(kit.spec()), kit.Clock())
    for module, name in (
        (preparing, "LOOK_S"),
        (preparing, "RECHECK_S"),
        (runner, "AFTER_ERROR_S"),
    ):
        monkeypatch.setattr(module, name, 0.0)
    told, enough = [], asyncio.Event()
    loop = asyncio.get_running_loop()

    def prepare(*_: object) -> str:
        told.append(core.problem or core.setbacks.problem)
        if len(told) == 4:
            loop.call_soon_threadsafe(enough.set)
        raise DataProblem("ModelNotFound", "There is no such model.")

    monkeypatch.setattr(basemodel, "prepare", prepare)
    monkeypatch.setattr(check, "check", lambda *_: core.data)
    task = asyncio.ensure_future(
        runner.forever("data", lambda: preparing.look(core), core.setbacks)
    )
    await asyncio.wait_for(enough.wait(), HANG_S)
    task.cancel()
    assert told[0] is None
    assert [found.reason for found in told[1:4] if found] == ["ModelNotFound"] * 3
