"""What is a loop, as a table."""

import pytest

from sea_env.episodes.repetition import Repetition


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
    repetition = Repetition(3)
    found = [
        repetition.talk("Sure?", "Yes.")
        if step == "talk"
        else repetition.call("f", {"x": step[0]}, step[-1])
        for step in steps
    ]
    assert found == wanted


def test_the_order_of_arguments_makes_no_difference() -> None:
    repetition = Repetition(2)
    assert not repetition.call("f", {"a": 1, "b": 2}, "")
    assert repetition.call("f", {"b": 2, "a": 1}, "")
