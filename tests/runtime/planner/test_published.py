"""Predictions next to what others published: off by a known factor."""

import dataclasses

import pytest

from sea_runtime.planner import published, published_steps
from sea_runtime.planner.published import Comparison
from sea_runtime.planner.workload import Workload


@pytest.fixture(scope="module")
def rows() -> list[Comparison]:
    return published_steps.comparisons()


def test_times_of_runs_with_published_lengths_are_predicted_within_a_known_factor(
    rows: list[Comparison],
) -> None:
    """Two weight updates and ten RL steps of four models, whose lengths nobody chose."""
    stated = [row for row in rows if row.longest_s is None]
    assert len(stated) == 12
    assert len({row.system for row in stated}) == 6
    wrong = {
        (row.system, row.what): round(row.ratio, 2) for row in stated if not 0.45 < row.ratio < 1.2
    }
    assert not wrong


def test_a_run_without_published_lengths_is_a_range_with_the_published_time_in_it(
    rows: list[Comparison],
) -> None:
    ranges = [row for row in rows if row.longest_ratio is not None]
    assert [row.system.split(",")[0] for row in ranges] == ["AReaL", "AReaL", "verl", "verl"]
    assert all(row.ratio < 1 < (row.longest_ratio or 0) for row in ranges)


def test_a_mean_near_the_context_is_that_of_lengths_that_were_cut() -> None:
    wanted = Workload(groups=8, group_size=8, context=4096, mean_tokens=3206)
    made = published_steps.uncut(wanted)
    assert sum(made.quantiles(200)) / 200 == pytest.approx(3206, rel=1e-3)
    assert sum(wanted.quantiles(200)) / 200 < 2800


def test_passes_before_the_training_cost_a_forward_pass_each() -> None:
    one = next(iter(published_steps.nemo_rl()))
    none, one_pass, two = (
        dataclasses.replace(one, forwards=count).training_seconds() for count in range(3)
    )
    assert two - one_pass == pytest.approx(one_pass - none)
    # A training has four, with recomputed layers; its stages' idle time and its update come on top.
    assert 4 <= none / (one_pass - none) < 5


def test_updates_are_of_two_systems() -> None:
    assert len({row.system for row in published.updates()}) == 2
