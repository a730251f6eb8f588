"""What counts as a loop, as a table."""

import pytest

from sea_env.episodes.limits import LoopDetector


@pytest.mark.parametrize(
    ("steps", "wanted"),
    [
        (["a=1", "a=1", "a=1"], [False, False, True]),
        (["a=1", "a=2", "a=1", "a=1"], [False, False, False, False]),
        (["a=1", "b=1", "a=1", "b=1"], [False] * 4),
        (["a=1", "a=1", "talk", "a=1"], [False] * 4),
        (["talk", "talk", "talk"], [False, False, True]),
    ],
)
def test_identical_steps_in_a_row(steps: list[str], wanted: list[bool]) -> None:
    """Calls are `arguments=result`: polling something that changes is no loop."""
    detector = LoopDetector(3)
    found = [
        detector.talk("Sure?", "Yes.")
        if step == "talk"
        else detector.call("f", {"x": step[0]}, step[-1])
        for step in steps
    ]
    assert found == wanted


def test_the_order_of_arguments_makes_no_difference() -> None:
    detector = LoopDetector(2)
    assert not detector.call("f", {"a": 1, "b": 2}, "")
    assert detector.call("f", {"b": 2, "a": 1}, "")
