"""Intervals against the exact bootstrap distribution of small samples."""

from itertools import product

import numpy as np
import pytest

from sea_data.evaluation import bootstrap
from sea_data.evaluation.passk import MEASURES, measures_of_task

TASKS = [[True] * 4, [True, True, False, False], [False] * 4, [True, False, False, False]]


def exact(tasks: list[list[bool]], column: int) -> np.ndarray:
    """Means over all equally likely resamples of the tasks, by enumeration."""
    values = [measures_of_task(task)[column] or 0.0 for task in tasks]
    return np.sort([np.mean(drawn) for drawn in product(values, repeat=len(values))])


@pytest.mark.parametrize("column", range(len(MEASURES)))
def test_draws_follow_the_exact_distribution(column: int) -> None:
    """The distribution of 20,000 draws is that of all 256 resamples."""
    drawn = bootstrap.draw(TASKS, 20_000, np.random.default_rng(1))[:, column]
    wanted = exact(TASKS, column)
    assert drawn.mean() == pytest.approx(wanted.mean(), abs=0.6)
    assert drawn.std() == pytest.approx(wanted.std(), rel=0.03)
    for share in (10, 50, 90):
        below = np.mean(drawn < np.percentile(wanted, share) - 1e-9)
        at_most = np.mean(drawn <= np.percentile(wanted, share) + 1e-9)
        assert below - 0.02 <= share / 100 <= at_most + 0.02


def test_intervals_are_exact_percentiles_on_few_tasks() -> None:
    found = bootstrap.intervals({"shop": TASKS}, draws=20_000)
    for column, name in enumerate(MEASURES):
        low, high = np.percentile(exact(TASKS, column), [2.5, 97.5])
        interval = found["shop"][name]
        assert interval is not None
        assert interval == pytest.approx((low, high), abs=2.0), name


def test_same_episodes_same_intervals_whatever_other_domains_there_are() -> None:
    alone = bootstrap.intervals({"shop": TASKS})
    together = bootstrap.intervals({"airline": TASKS[:3], "shop": TASKS})
    assert alone["shop"] == together["shop"] == bootstrap.intervals({"shop": TASKS})["shop"]
    seeds = [np.random.default_rng([seed, 1]) for seed in (1, 2)]
    first, second = (bootstrap.draw(TASKS, 100, rng) for rng in seeds)
    assert not np.array_equal(first, second)


def test_the_average_is_of_domains_not_of_tasks() -> None:
    """A domain without variance halves the other one's interval."""
    found = bootstrap.intervals({"shop": TASKS, "retail": [[True] * 4] * 50})
    shop, average = found["shop"]["passHat1"], found["average"]["passHat1"]
    assert shop is not None
    assert average is not None
    assert average == pytest.approx([(bound + 100) / 2 for bound in shop], abs=1e-9)
    assert found["retail"]["passHat1"] == (100.0, 100.0)


def test_more_tasks_narrow_the_interval() -> None:
    def width(count: int) -> float:
        found = bootstrap.intervals({"shop": TASKS * count})["shop"]["passHat1"]
        assert found is not None
        return found[1] - found[0]

    assert width(1) > 1.8 * width(4) > 3 * width(16)


def test_undefined_where_there_is_too_little() -> None:
    assert bootstrap.intervals({}) == {}
    one = bootstrap.intervals({"shop": [[True] * 4]})
    assert one["shop"]["passHat1"] is None
    assert one["average"]["passHat1"] is None
    few = bootstrap.intervals({"shop": [[True, False], [True, True]]})["shop"]
    assert few["passHat2"] is not None
    assert few["passHat3"] is few["passAt4"] is None


def test_tasks_with_fewer_trials_count_where_they_are_defined() -> None:
    """One of two tasks has four trials: pass^4 is that task's, wherever it is drawn."""
    found = bootstrap.intervals({"shop": [[True] * 4, [False]]})["shop"]
    assert found["passHat4"] == (100.0, 100.0)
    assert found["passHat1"] == (0.0, 100.0)
