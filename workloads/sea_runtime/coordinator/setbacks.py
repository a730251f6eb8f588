"""Background work that can't be done: told to the user, while it is tried again.

The errors of store, ledger and data are sentences about something that a person can mend, and come
after all patience; they are told at once. Anything else is a mistake of ours, told when it repeats.
"""

import sqlite3

from sea_api.wire.state import Problem
from sea_data.object_store import StoreError
from sea_runtime.coordinator.data.problems import DataProblem
from sea_runtime.coordinator.errors import IllegalMoveError, LedgerError

OFTEN = 5
"""Breaks of one loop in a row, some seconds apart, that are no accident any more."""
CALLS = "calls"
"""The part that isn't a loop: what pods and operator ask for."""


def problem_of(part: str, error: Exception, times: int) -> Problem | None:
    """What the user should know of the last of `times` failures in a row. Pure."""
    if isinstance(error, DataProblem):
        return error.problem
    if isinstance(error, StoreError):
        return Problem(reason="StoreFails", message=f"{error} It is tried again.")
    if isinstance(error, LedgerError) and not isinstance(error, IllegalMoveError):
        return Problem(reason="LedgerUnusable", message=str(error))
    if isinstance(error, sqlite3.OperationalError):
        return Problem(
            reason="LedgerUnusable",
            message=f"The coordinator can't write its ledger ({error}). Enlarge its volume if it "
            "is full (its PersistentVolumeClaim), or see the log of "
            "the coordinator's pod. It is tried again.",
        )
    if times < OFTEN:
        return None
    return Problem(
        reason="CoordinatorBroken",
        message=f"The coordinator's work on '{part}' broke off {times} times in a row, at last "
        f"with {type(error).__name__}: {error}. It is tried again; the log of the coordinator's "
        "pod has the details.",
    )


class Setbacks:
    """What each background loop stumbles over at the moment."""

    def __init__(self) -> None:
        self._times: dict[str, int] = {}
        self._problems: dict[str, Problem] = {}

    @property
    def problem(self) -> Problem | None:
        return next(iter(self._problems.values()), None)

    def failed(self, part: str, error: Exception) -> bool:
        """Whether that is news: the same failure again is not worth a line in the log."""
        self._times[part] = self._times.get(part, 0) + 1
        before, found = self._problems.get(part), problem_of(part, error, self._times[part])
        if found is not None:
            self._problems[part] = found
        return found is None or found != before

    def stands(self, part: str) -> bool:
        """Whether its last attempt failed."""
        return part in self._times

    def over(self, part: str) -> None:
        """The loop has done its work."""
        self._times.pop(part, None)
        self._problems.pop(part, None)
