"""The walk goes forward by what the coordinator completed, and never back."""

from typing import Any

import pytest

from sea_operator.policies.phase import Walk, position, walk


@pytest.mark.parametrize(
    ("stored", "complete", "expected"),
    [
        (None, (), Walk(0)),
        ("sft", (), Walk(0)),
        ("sft", ("sft",), Walk(1)),
        ("sft", ("sft", "rl"), Walk(2)),
        ("rl", ("sft",), Walk(1)),
        ("rl", (), Walk(1)),
        ("eval", (), Walk(2)),
        ("eval", ("sft", "rl", "eval"), Walk(2, complete=True)),
        ("eval", ("eval",), Walk(2, complete=True)),
        ("sft", ("rl",), Walk(0)),
        ("gone", ("sft",), Walk(1)),
        (None, ("unknown",), Walk(0)),
    ],
)
def test_walk(make: Any, stored: str | None, complete: Any, expected: Any) -> None:
    assert walk(make.spec(), make.status(stage=stored), make.state(*complete)) == expected


def test_without_a_coordinator_the_status_remembers(make: Any) -> None:
    assert walk(make.spec(), make.status(stage="rl"), None) == Walk(1)


def test_a_job_that_was_complete_goes_on_behind_its_last_stage(make: Any) -> None:
    stages = [*make.raw_spec()["stages"], {"name": "more", "type": "RL", "rl": {}}]
    done = make.status(make.condition("Complete", "True"), stage="eval")
    assert walk(make.spec(stages=stages), done, None) == Walk(3)


def test_position(make: Any) -> None:
    assert [position(make.spec(), name) for name in ("sft", "eval", "x", None)] == [
        0,
        2,
        None,
        None,
    ]
