"""What the demo computes from a finished run."""

import pytest

from sea_devcluster.demo import report


def span(kind: str, start: float, end: float, **more: float) -> dict[str, object]:
    return {"kind": kind, "start": start, "end": end, **more}


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


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [((0, 10), (2, 4), 2.0), ((0, 10), (8, 12), 2.0), ((0, 1), (1, 2), 0.0), ((0, 1), (5, 6), 0.0)],
)
def test_overlap(one: tuple[float, float], other: tuple[float, float], overlap: float) -> None:
    timeline = [span("generate", *one), span("train", *other)]
    assert report.overlap_seconds(timeline, "generate", "train") == overlap


def test_metric_reads_reinforcement_rows_only() -> None:
    rows = [row(1, train_s=9.0), row(2, reward=0.0, train_s=1.0), row(3, reward=1.0)]
    assert report.metric(rows, "train_s") == [1.0]
    assert report.middle([]) is None
    assert report.field_values([span("update", 0, 1, pause_s=0.2)], "update", "pause_s") == [0.2]


def test_overlapping_groups_count_once() -> None:
    timeline = [span("generate", 0, 4), span("generate", 1, 6), span("train", 2, 8)]
    assert report.busy(timeline, "generate") == [(0, 6)]
    assert report.overlap_seconds(timeline, "generate", "train") == 4.0


def test_generation_of_a_step_lasts_from_its_first_group_to_its_last() -> None:
    timeline = [
        span("generate", 0, 4, step=1),
        span("generate", 3, 6, step=1),
        span("generate", 5, 9, step=2),
        {"kind": "generate", "start": 0.0, "end": 99.0, "step": None},
    ]
    assert report.generation_seconds(timeline) == [6, 4]
