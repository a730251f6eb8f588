"""Drain, release, resume; the Suspended condition remembers how far it got."""

from typing import Any

import pytest

from sea_operator.plan import Suspension
from sea_operator.policies.phase import remembered, resumes, suspension

SINCE = 1_800_000_000.0
NONE, DRAINING, RELEASED = Suspension.NONE, Suspension.DRAINING, Suspension.RELEASED


def ask(
    make: Any,
    *,
    memory: Any = "False",
    wanted: Any = True,
    drained: Any = False,
    after: Any = 10.0,
    coordinator: Any = 1,
    stage: Any = "rl",
) -> Any:
    condition = make.condition("Suspended", memory, last_transition_time="2027-01-15T08:00:00Z")
    return suspension(
        wanted=wanted,
        status=make.status(condition, stage=stage),
        state=make.state(drained=drained),
        coordinator_replicas=coordinator,
        now=SINCE + after,
        timeout=180.0,
    )


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ({"wanted": False}, NONE),
        ({"wanted": False, "memory": "True"}, NONE),
        ({}, DRAINING),
        ({"drained": True}, DRAINING),
        ({"memory": "Unknown"}, DRAINING),
        ({"memory": "Unknown", "drained": True}, RELEASED),
        ({"memory": "Unknown", "after": 179.0}, DRAINING),
        ({"memory": "Unknown", "after": 180.0}, RELEASED),
        ({"memory": "True"}, RELEASED),
        ({"coordinator": 0}, RELEASED),
        ({"coordinator": None}, RELEASED),
        ({"stage": None}, RELEASED),
    ],
)
def test_suspension(make: Any, case: Any, expected: Any) -> None:
    assert ask(make, **case) is expected


def test_an_unreachable_coordinator_is_waited_for(make: Any) -> None:
    status = make.status(make.condition("Suspended", "Unknown"))
    found = suspension(
        wanted=True, status=status, state=None, coordinator_replicas=1, now=SINCE, timeout=180.0
    )
    assert found is DRAINING


@pytest.mark.parametrize(
    ("wanted", "memory", "expected"),
    [
        (False, "True", True),
        (True, "True", False),
        (False, "Unknown", False),
        (False, "False", False),
    ],
)
def test_only_released_pods_resume_in_a_new_attempt(
    make: Any, wanted: bool, memory: str, expected: bool
) -> None:
    assert resumes(wanted, make.status(make.condition("Suspended", memory))) is expected


@pytest.mark.parametrize(
    ("memory", "expected"), [("True", RELEASED), ("Unknown", DRAINING), ("False", NONE)]
)
def test_remembered(make: Any, memory: str, expected: Any) -> None:
    assert remembered(make.status(make.condition("Suspended", memory))) is expected
    assert remembered(make.status()) is NONE
