"""Drain, release, resume; the Suspended condition remembers how far it got."""

from typing import Any

import pytest

from sea_api.v1alpha1.policy import Role
from sea_api.v1alpha1.status import CheckpointStatus
from sea_operator.plan import Suspension
from sea_operator.policies.phase import drain_seconds, remembered, resumes, suspension

SINCE, SINCE_TEXT = 1_800_000_000.0, "2027-01-15T08:00:00Z"
NONE, DRAINING = Suspension.NONE, Suspension.DRAINING
RELEASING, RELEASED = Suspension.RELEASING, Suspension.RELEASED


def ask(
    make: Any,
    *,
    memory: Any = "False",
    wanted: Any = True,
    drained: Any = False,
    after: Any = 10.0,
    coordinator: Any = 1,
    stage: Any = "rl",
    reason: Any = "Draining",
    pods: Any = (True,),
) -> Any:
    """`pods`: whether each of them ever ran."""
    since = {"last_transition_time": "2027-01-15T08:00:00Z"}
    condition = make.condition("Suspended", memory, reason=reason, **since)
    return suspension(
        wanted=wanted,
        status=make.status(condition, stage=stage),
        state=make.state(drained=drained),
        coordinator_replicas=coordinator,
        pods=[make.pod("p", Role.TRAINER, began=began) for began in pods],
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
        ({"memory": "Unknown", "drained": True}, RELEASING),
        ({"memory": "Unknown", "drained": True, "pods": ()}, RELEASED),
        ({"memory": "Unknown", "reason": "Releasing"}, RELEASING),
        ({"memory": "Unknown", "reason": "Releasing", "pods": ()}, RELEASED),
        ({"pods": (False, False)}, RELEASING),
        ({"pods": (False, True)}, DRAINING),
        ({"pods": ()}, RELEASED),
        ({"memory": "Unknown", "after": 179.0}, DRAINING),
        ({"memory": "Unknown", "after": 180.0}, RELEASING),
        ({"memory": "True"}, RELEASED),
        ({"coordinator": 0}, RELEASING),
        ({"coordinator": None}, RELEASING),
        ({"stage": None}, RELEASING),
    ],
)
def test_suspension(make: Any, case: Any, expected: Any) -> None:
    assert ask(make, **case) is expected


def test_an_unreachable_coordinator_is_waited_for(make: Any) -> None:
    status = make.status(make.condition("Suspended", "Unknown"))
    found = suspension(
        wanted=True,
        status=status,
        state=None,
        coordinator_replicas=1,
        pods=[make.pod("p", Role.COORDINATOR)],
        now=SINCE,
        timeout=180.0,
    )
    assert found is DRAINING


@pytest.mark.parametrize(
    ("wanted", "memory", "started", "expected"),
    [
        (False, "True", SINCE_TEXT, True),
        # Created suspended, as by a queue: the first attempt is still to begin.
        (False, "True", None, False),
        (True, "True", SINCE_TEXT, False),
        (False, "Unknown", SINCE_TEXT, False),
        (False, "False", SINCE_TEXT, False),
    ],
)
def test_only_released_pods_resume_in_a_new_attempt(
    make: Any, wanted: bool, memory: str, started: str | None, expected: bool
) -> None:
    status = make.status(make.condition("Suspended", memory), start_time=started)
    assert resumes(wanted, status) is expected


@pytest.mark.parametrize(
    ("memory", "expected"), [("True", RELEASED), ("Unknown", DRAINING), ("False", NONE)]
)
def test_remembered(make: Any, memory: str, expected: Any) -> None:
    assert remembered(make.status(make.condition("Suspended", memory))) is expected
    assert remembered(make.status()) is NONE


def test_pods_on_their_way_out_are_remembered_and_resume_in_a_new_attempt(make: Any) -> None:
    status = make.status(make.condition("Suspended", "Unknown", reason="Releasing"))
    assert remembered(status) is RELEASING
    assert resumes(False, status)
    assert not resumes(True, status)


@pytest.mark.parametrize(
    ("given", "gpus", "checkpoint", "expected"),
    [
        (None, 0, None, 180.0),
        (None, 8, None, 1800.0),
        (None, 8, 4_000_000_000_000, 10180.0),
        (None, 0, 2_000, 180.000005),
        (60, 8, 4_000_000_000_000, 60.0),
    ],
)
def test_the_last_checkpoint_has_time_by_its_size(
    make: Any, given: int | None, gpus: int, checkpoint: int | None, expected: float
) -> None:
    trainer = {"replicas": 2, "gpusPerPod": gpus}
    spec = make.spec(trainer=trainer, checkpoint={"drainSeconds": given} if given else {})
    stored = checkpoint and CheckpointStatus(version=1, step=1, time=SINCE_TEXT, bytes=checkpoint)
    found = drain_seconds(spec, make.status(checkpoint=stored))
    assert found == pytest.approx(expected)
