"""Restarts count for as long as the window covers them."""

from typing import Any

import pytest

from sea_api.v1alpha1.policy import RestartBudget
from sea_operator.policies.failure_policy import MAX_REMEMBERED, Spent, spend, within


@pytest.mark.parametrize(
    ("recent", "restarts", "window", "expected"),
    [
        ((), 1, 100, Spent((1000,))),
        ((), 0, 100, Spent((), exhausted=True)),
        ((950,), 1, 100, Spent((950,), exhausted=True)),
        ((950,), 2, 100, Spent((950, 1000))),
        ((900,), 1, 100, Spent((1000,))),
        ((901,), 1, 100, Spent((901,), exhausted=True)),
        ((10, 20, 950), 2, 100, Spent((950, 1000))),
    ],
)
def test_spend(recent: Any, restarts: int, window: int, expected: Any) -> None:
    budget = RestartBudget(restarts=restarts, window_seconds=window)
    assert spend(recent, budget, 1000.0) == expected


def test_the_window_never_outgrows_the_largest_budget() -> None:
    budget = RestartBudget(restarts=MAX_REMEMBERED, window_seconds=2000)
    spent = spend(range(1, MAX_REMEMBERED), budget, 1500)
    assert (len(spent.recent), spent.exhausted) == (MAX_REMEMBERED, False)
    assert spend(spent.recent, budget, 1500).exhausted


def test_within_is_the_open_window() -> None:
    budget = RestartBudget(restarts=1, window_seconds=10)
    assert within((89, 90, 91, 100), budget, 100) == (91, 100)
