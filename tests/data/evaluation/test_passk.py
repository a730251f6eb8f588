"""pass^k and pass@k with exact values."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sea_data.evaluation import passk


@pytest.mark.parametrize(
    ("trials", "passed", "k", "hat", "at"),
    [
        (4, 4, 1, 1.0, 1.0),
        (4, 4, 4, 1.0, 1.0),
        (4, 0, 1, 0.0, 0.0),
        (4, 2, 1, 0.5, 0.5),
        (4, 2, 2, 1 / 6, 5 / 6),
        (4, 3, 2, 0.5, 1.0),
        (4, 3, 4, 0.0, 1.0),
        (4, 1, 4, 0.0, 1.0),
        (8, 6, 4, 15 / 70, 1.0),
        (1, 1, 1, 1.0, 1.0),
    ],
)
def test_exact_values(trials: int, passed: int, k: int, hat: float, at: float) -> None:
    """C(c,k)/C(n,k), and its counterpart."""
    assert passk.pass_hat(trials, passed, k) == pytest.approx(hat, abs=1e-15)
    assert passk.pass_at(trials, passed, k) == pytest.approx(at, abs=1e-15)


@given(st.lists(st.booleans(), min_size=1, max_size=8), st.integers(1, 8))
def test_equals_counting_all_choices(trials: list[bool], k: int) -> None:
    """The closed form is the share of k-subsets in which all, or any, pass."""
    if k > len(trials):
        return
    choices = list(combinations(trials, k))
    hat = sum(map(all, choices)) / len(choices)
    at = sum(map(any, choices)) / len(choices)
    assert passk.pass_hat(len(trials), sum(trials), k) == pytest.approx(hat)
    assert passk.pass_at(len(trials), sum(trials), k) == pytest.approx(at)


def test_mean_is_over_tasks_in_percent() -> None:
    """A task counts once, however many trials it has; tasks with too few are left out."""
    tasks = [[True, True, False, False], [True] * 4, [True]]
    assert passk.mean_pass_hat(tasks, 1) == pytest.approx(100 * (0.5 + 1 + 1) / 3)
    assert passk.mean_pass_hat(tasks, 2) == pytest.approx(100 * (1 / 6 + 1) / 2)
    assert passk.mean_pass_hat(tasks, 5) is None
    assert passk.mean_pass_at(tasks, 4) == pytest.approx(100.0)


@pytest.mark.parametrize(("trials", "passed", "k"), [(4, 5, 1), (4, 2, 5), (4, 2, 0), (4, -1, 1)])
def test_undefined(trials: int, passed: int, k: int) -> None:
    """Nonsense is refused, not computed."""
    with pytest.raises(ValueError, match="not defined"):
        passk.pass_hat(trials, passed, k)


def test_success_is_reward_one() -> None:
    """tau2-bench's tolerance."""
    assert passk.succeeded(1.0)
    assert passk.succeeded(1.0 - 1e-7)
    assert not passk.succeeded(0.99)
    assert not passk.succeeded(0.0)
