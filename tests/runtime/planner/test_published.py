"""Predictions next to what others published: off by a known factor."""

from sea_runtime.planner import published


def test_predictions_are_within_a_factor_of_two_of_four_published_set_ups() -> None:
    rows = published.comparisons()
    assert len({row.system for row in rows}) == 4
    wrong = {(row.system, row.what): round(row.ratio, 2) for row in rows if not 0.5 < row.ratio < 2}
    assert not wrong
    asynchronous = [row for row in rows if "asynchronous" in row.what]
    for row in asynchronous:
        (other,) = (
            one.predicted_s
            for one in rows
            if one.system == row.system and one.what == "step, synchronous"
        )
        assert row.predicted_s < other
