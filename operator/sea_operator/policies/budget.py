"""The windowed restart budget: so many counted restarts within so many seconds."""

from collections.abc import Sequence
from dataclasses import dataclass

from sea_api.v1alpha1.policy import RestartBudget

MOST_REMEMBERED = 1000
"""Bound of `status.restarts.recent`, and of a budget."""


@dataclass(frozen=True)
class Spent:
    """The window after one more restart was asked for."""

    recent: tuple[int, ...]
    exhausted: bool = False


def within(recent: Sequence[int], budget: RestartBudget, now: float) -> tuple[int, ...]:
    """Those restarts that the window still covers."""
    return tuple(time for time in recent if now - time < budget.window_seconds)


def spend(recent: Sequence[int], budget: RestartBudget, now: float) -> Spent:
    """One more restart, or the finding that the budget has none left."""
    covered = within(recent, budget, now)
    if len(covered) >= budget.restarts:
        return Spent(covered, exhausted=True)
    return Spent((*covered, int(now)))
