"""Curves over training steps from metric rows."""

from typing import Any

import pytest

from sea_data.evaluation.report import curves


def row(stage: str, step: int, **metrics: float) -> dict[str, Any]:
    return {"stage": stage, "step": step, "metrics": metrics}


def test_a_step_done_twice_counts_once() -> None:
    """After a restart the steps since the checkpoint come again, with the numbers that count."""
    rows = [row("rl", 1, reward=0.1), row("rl", 2, reward=0.2), row("rl", 2, reward=0.3)]
    assert [(p.position, p.value) for p in curves.series(rows, "reward")] == [(0, 0.1), (1, 0.3)]


def test_stages_follow_each_other() -> None:
    rows = [row("sft", 2, loss=2.0), row("rl", 1, loss=0.1), row("sft", 1, loss=3.0)]
    found = curves.series(rows, "loss")
    assert [(p.stage, p.step) for p in found] == [("sft", 1), ("sft", 2), ("rl", 1)]


def test_what_is_no_number_is_left_out() -> None:
    rows = [row("rl", 1, reward=float("nan")), {"stage": "rl", "step": 2}, row("rl", 3, reward=1)]
    assert [p.step for p in curves.series(rows, "reward")] == [3]


def test_the_average_starts_at_the_first_value() -> None:
    assert curves.smoothed([5.0, 5.0, 5.0]) == pytest.approx([5.0, 5.0, 5.0])
    rising = curves.smoothed([0.0, 1.0, 1.0, 1.0])
    assert rising == sorted(rising)


def test_plots() -> None:
    assert curves.plots([]) == []
    assert curves.plots([row("rl", 1, reward=1.0)]) == [], "one point is no curve"
    rows = [row("rl", n, reward=n / 2000) for n in range(2000)]
    (plot,) = curves.plots(rows)
    assert (plot.stages, plot.borders, len(plot.trends)) == ([("rl", 2000)], [], 1)
    assert len(plot.raw) == len(plot.trends[0]) <= 600, "thinned to what a screen can show"
