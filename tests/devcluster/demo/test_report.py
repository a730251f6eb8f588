"""What the demo computes from a finished run."""

import pytest

from sea_devcluster.demo import report


def row(step: int, **metrics: float) -> dict[str, object]:
    return {"step": step, "time": float(step), "metrics": metrics}


def test_a_step_computed_twice_counts_as_computed_last() -> None:
    rows = [row(1, reward=0.1), row(2, reward=0.2), row(2, reward=0.3), row(5, loss=1.0)]
    assert report.learning_curve(rows) == [report.Point(1, 0.1), report.Point(2, 0.3)]


def test_scores_keep_the_averages_in_order() -> None:
    status = {
        "evaluation": [
            {"stage": "a", "domain": "shop", "passHat1": 1.0, "episodes": 2, "tasks": 1},
            {"stage": "a", "domain": "average", "passHat1": 40.0, "episodes": 256, "tasks": 128},
            {"stage": "b", "domain": "average", "passHat1": 60.0, "episodes": 256, "tasks": 128},
        ]
    }
    found = report.scores(status)
    assert [score.stage for score in found] == ["a", "b"]
    assert found[0].standard_error == pytest.approx(3.06, abs=0.01)
