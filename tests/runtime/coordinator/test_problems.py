"""Which failures become a problem, in which order problems are shown, and for how long."""

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import pytest

from sea_api.wire.state import Problem, Severity
from sea_data.object_store import AccessDeniedError, StoreUnavailableError
from sea_runtime.coordinator import (
    background,
    base_model,
    data_check,
    model_files,
    model_fit,
    plan_check,
    preconditions,
)
from sea_runtime.coordinator.data_check import CheckedData
from sea_runtime.coordinator.errors import (
    BadRowError,
    LedgerError,
    LedgerUnavailableError,
    ModelUnavailableError,
    NotReadyError,
    PreconditionError,
)
from sea_runtime.coordinator.ledger.groups import IllegalMoveError
from sea_runtime.coordinator.problems import OFTEN, Problems, Source, first, problem_of
from sea_testing.coordinator import inprocess as kit
from sea_testing.waiting import HANG_S

ERROR, WARNING = Severity.ERROR, Severity.WARNING

FAILURES: list[tuple[Exception, int, str | None, Severity]] = [
    (AccessDeniedError("GET s3://b/k: denied."), 1, "StoreFails", ERROR),
    (StoreUnavailableError("GET s3://b/k: no answer."), 1, "StoreFails", WARNING),
    (LedgerError("The file is damaged."), 1, "LedgerUnusable", ERROR),
    (LedgerUnavailableError("The volume is full."), 1, "LedgerUnusable", WARNING),
    (PreconditionError("ModelNotFound", "s3://b/m is empty."), 1, "ModelNotFound", ERROR),
    (NotReadyError("There is no ledger."), 1, "CoordinatorFails", WARNING),
    (ModelUnavailableError("The hub is away."), 1, "ModelUnavailable", WARNING),
    (IllegalMoveError("Group 1 can't."), 1, None, WARNING),
    (KeyError("x"), OFTEN - 1, None, WARNING),
    (KeyError("x"), OFTEN, "CoordinatorBroken", WARNING),
]


@pytest.mark.parametrize(("error", "times", "reason", "severity"), FAILURES)
def test_a_failure_becomes_a_problem_by_its_type(
    error: Exception, times: int, reason: str | None, severity: Severity
) -> None:
    found = problem_of(Source.STAGES, error, times)
    assert (found.reason if found else None) == reason
    if found is not None:
        assert str(error) in found.message
        assert found.severity is severity


ORDER = [(source, severity) for severity in (ERROR, WARNING) for source in Source]


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(ORDER, 2)))
def test_of_two_problems_the_more_severe_is_shown_then_the_more_fundamental_source(
    one: tuple[Source, Severity], other: tuple[Source, Severity]
) -> None:
    shown, hidden = (
        (source, Problem(reason="R", message=f"{source} {severity}", severity=severity))
        for source, severity in (one, other)
    )
    assert first([shown, hidden]) == first([hidden, shown]) == shown[1]


def test_a_check_is_shown_before_a_failure_of_the_same_source_and_rank() -> None:
    problems = Problems()
    assert problems.first is None
    problems.failed(Source.DATA, PreconditionError("ModelNotFound", "There is no model."))
    finding = Problem(reason="BadRow", message="Line 3 is wrong.")
    problems.report(Source.DATA, finding)
    assert problems.first == finding
    problems.report(Source.DATA, None)
    assert problems.first is not None
    assert problems.first.reason == "ModelNotFound"
    problems.passed(Source.DATA)
    assert problems.first is None


async def test_a_failing_loop_is_a_problem_until_a_pass_succeeds(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background, "AFTER_ERROR_SECONDS", 0.0)
    caplog.set_level(logging.CRITICAL)
    problems = Problems()
    shown: list[Problem | None] = []
    passes = iter([*["fails"] * OFTEN, "succeeds", "looks"])

    async def step() -> None:
        shown.append(problems.first)
        if next(passes) == "fails":
            raise KeyError("x")

    await _until_exhausted(step, problems)
    assert shown[:OFTEN] == [None] * OFTEN
    last = shown[OFTEN]
    assert last is not None
    assert last.reason == "CoordinatorBroken"
    assert shown[OFTEN + 1] is None


async def _until_exhausted(step: Callable[[], Awaitable[None]], problems: Problems) -> None:
    """`forever`, ended by the iterator's end."""
    ended = asyncio.Event()

    async def watched() -> None:
        try:
            await step()
        except RuntimeError:  # what StopIteration becomes in a coroutine
            ended.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(background.forever(Source.STAGES, watched, problems))
    await asyncio.wait_for(ended.wait(), HANG_S)
    task.cancel()


def test_the_same_failure_again_is_not_news() -> None:
    problems = Problems()
    assert problems.failed(Source.DATA, AccessDeniedError("GET s3://b/k: denied."))
    assert not problems.failed(Source.DATA, AccessDeniedError("GET s3://b/k: denied."))
    assert problems.failed(Source.DATA, AccessDeniedError("GET s3://b/other: denied."))


async def test_a_missing_model_stays_a_problem_between_two_attempts_to_find_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = kit.coordinator(tmp_path, kit.desired(kit.spec()), kit.Clock())
    for module, name in (
        (preconditions, "LOOK_SECONDS"),
        (preconditions, "RECHECK_SECONDS"),
        (background, "AFTER_ERROR_SECONDS"),
    ):
        monkeypatch.setattr(module, name, 0.0)
    shown: list[Problem | None] = []
    enough = asyncio.Event()
    loop = asyncio.get_running_loop()

    def prepare(*_: object) -> str:
        shown.append(core.problems.first)
        if len(shown) == 4:
            loop.call_soon_threadsafe(enough.set)
        raise PreconditionError("ModelNotFound", "There is no such model.")

    monkeypatch.setattr(base_model, "prepare", prepare)
    monkeypatch.setattr(data_check, "check", lambda *_: CheckedData({kit.FILE: kit.task_rows()}))
    task = asyncio.ensure_future(
        background.forever(Source.DATA, core.preconditions.look, core.problems)
    )
    await asyncio.wait_for(enough.wait(), HANG_S)
    task.cancel()
    assert shown[0] is None
    assert [found.reason for found in shown[1:4] if found] == ["ModelNotFound"] * 3


async def test_a_row_that_the_model_cannot_hold_stays_a_problem_until_the_file_is_corrected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two readings of the data it isn't gone, and the corrected file is read."""
    core = kit.coordinator(tmp_path, kit.desired(kit.spec()), kit.Clock())
    monkeypatch.setattr(preconditions, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(preconditions, "RECHECK_SECONDS", 0.0)
    read: list[CheckedData] = []

    def check(*_: object) -> CheckedData:
        read.append(CheckedData({kit.FILE: kit.task_rows()}))
        return read[-1]

    def check_data(_: object, __: object, folders: Mapping[str, str], data: CheckedData) -> None:
        if not folders:
            return  # nothing to compare it with yet
        if len(read) < 4:
            raise BadRowError("BadRow", "f", 2, "is a system message after the first.")
        assert data is read[-1]

    monkeypatch.setattr(data_check, "check", check)
    monkeypatch.setattr(base_model, "prepare", lambda *_: "s3://b/m")
    for module, name in ((model_fit, "check"), (model_files, "check"), (plan_check, "judge")):
        monkeypatch.setattr(module, name, lambda *_: None)
    monkeypatch.setattr(plan_check, "require_fit", lambda *_: None)
    monkeypatch.setattr(model_files, "check_data", check_data)
    shown = []
    for _ in range(20):  # more looks than it needs
        await core.preconditions.look()
        shown.append(core.problems.first)
    reasons = [found.reason if found else "" for found in shown]
    first, last = reasons.index("BadRow"), reasons.index("", reasons.index("BadRow"))
    assert last - first >= 3, "several readings"
    assert set(reasons[last:]) == {""}
    assert core.preconditions._are_models_fit()
