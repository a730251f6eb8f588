"""What keeps the job from going on, as the operator shows it: the first of an ordered list.

Every background loop and every caller that finds something wrong reports it under its `Source`.
The order is total: by severity, then by source as listed, then what a check found before what
broke.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from sea_api.errors import SeaError
from sea_api.wire.state import Problem, Severity
from sea_data.object_store import StoreError
from sea_runtime.coordinator.errors import LedgerError, ModelUnavailableError, PreconditionError

log = logging.getLogger(__name__)

OFTEN = 5
"""Failures of one loop in a row, seconds apart, that are a bug rather than an accident."""


class Source(Enum):
    """Where a problem was found, most fundamental first: what follows may be a consequence."""

    LEDGER = "ledger"
    """The ledger is opened or restored."""
    CALLS = "calls"
    """What pods and operator ask for."""
    TRAINER = "trainer"
    """The attempt ended with a mistake of the user."""
    ROLLBACK = "rollback"
    """The checkpoint that was asked for is looked at, or gone back to."""
    DATA = "data"
    """Data check and base models."""
    STAGES = "stages"
    SYNTHESIS = "synthesis"
    VOLUME = "volume"
    """Upkeep of the ledger's files."""
    STORE = "store"
    """The probe behind `/readyz`."""
    BACKGROUND = "background"
    """What the trainer does next to training: checkpoints, copies of weights, exports."""
    RUN_FOLDER = "run folder"
    """Metrics, dialogues and the record of the run, written while it goes on."""
    EPISODES = "episodes"
    """Episodes without a verdict, or without anything to learn from."""


SEVERITIES = (Severity.ERROR, Severity.WARNING)
"""Most severe first."""


def first(problems: Iterable[tuple[Source, Problem]]) -> Problem | None:
    """The problem to show; of equal rank, the one that comes first."""
    sources = list(Source)
    ranked = min(
        problems,
        key=lambda item: (SEVERITIES.index(item[1].severity), sources.index(item[0])),
        default=None,
    )
    # `min` returns the first of equals: what a check found is listed before what broke.
    return None if ranked is None else ranked[1]


def problem_of(source: Source, error: Exception, times: int) -> Problem | None:
    """What the user should know of the last of `times` failures in a row. Pure.

    Our own errors are sentences about something that a person can correct, and come after all
    retries: they are shown at once. Any other is a bug, shown if it repeats.
    """
    if isinstance(error, PreconditionError):
        return error.problem
    if isinstance(error, SeaError):
        severity = Severity.ERROR if error.permanent else Severity.WARNING
        return Problem(
            reason=_reason(error), message=f"{error} It is tried again.", severity=severity
        )
    if times < OFTEN:
        return None
    return Problem(
        reason="CoordinatorBroken",
        message=f"The coordinator's work on '{source.value}' failed {times} times in a row, the "
        f"last time with {type(error).__name__}: {error}. It is tried again; the log of the "
        "coordinator's pod has the details.",
        severity=Severity.WARNING,
    )


def _reason(error: SeaError) -> str:
    match error:
        case StoreError():
            return "StoreFails"
        case LedgerError():
            return "LedgerUnusable"
        case ModelUnavailableError():
            return "ModelUnavailable"
        case _:
            return "CoordinatorFails"


def episodes_fail(stage: str, failed: int, error: str) -> Problem:
    """The problem when no episode gets a verdict: a user endpoint or environment is broken.

    Training would replace group after group and an evaluation would end without a number.
    """
    return Problem(
        reason="EpisodesFail",
        message=f"The last {failed} episodes of stage '{stage}' ended without a verdict, the last "
        f"with: {error} Correct what it names; rollouts go on trying.",
        severity=Severity.WARNING,
    )


@dataclass
class _Failures:
    """Failures of one loop in a row."""

    times: int = 0
    problem: Problem | None = None


class Problems:
    """All problems that exist now."""

    def __init__(self) -> None:
        self._found: dict[Source, Problem] = {}
        self._failures: dict[Source, _Failures] = {}

    @property
    def first(self) -> Problem | None:
        """The one to show."""
        failed = ((source, one.problem) for source, one in self._failures.items())
        return first(
            [
                *self._found.items(),
                *((source, problem) for source, problem in failed if problem is not None),
            ]
        )

    def report(self, source: Source, problem: Problem | None) -> None:
        """Replaces what a check of the source has found; None: it found nothing wrong."""
        if problem is None:
            self._found.pop(source, None)
            return
        if self._found.get(source) != problem:
            log.error("%s: %s", problem.reason, problem.message)
        self._found[source] = problem

    def found(self, source: Source) -> Problem | None:
        """What the source's last check has found."""
        return self._found.get(source)

    def failed(self, source: Source, error: Exception) -> bool:
        """Counts a failure; returns whether it is news (the same one again needs no log line)."""
        record = self._failures.setdefault(source, _Failures())
        record.times += 1
        before, found = record.problem, problem_of(source, error, record.times)
        # A bug that has not repeated often enough doesn't hide a problem that is known already.
        record.problem = found or before
        return found is None or found != before

    def is_failing(self, source: Source) -> bool:
        """Whether its last attempt failed."""
        return source in self._failures

    def passed(self, source: Source) -> None:
        """Its work succeeded."""
        self._failures.pop(source, None)
