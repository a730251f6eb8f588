"""How soon to look again."""

from typing import Any

import pytest

from sea_operator.decide import decide, requeue
from sea_operator.observed import Blocker
from sea_operator.plan import Lifecycle, Outcome, Suspension
from sea_operator.settings import Intervals

HALT = Blocker("R", "M.")


@pytest.mark.parametrize(
    ("lifecycle", "sent", "expected"),
    [
        (Lifecycle(), False, 1.0),
        (Lifecycle(), True, 0.5),
        (Lifecycle(blocker=HALT), False, 5.0),
        (Lifecycle(suspension=Suspension.DRAINING), False, 1.0),
        (Lifecycle(suspension=Suspension.RELEASED), False, 30.0),
        (Lifecycle(outcome=Outcome.COMPLETE), False, 30.0),
        (Lifecycle(outcome=Outcome.FAILED, blocker=HALT), False, 30.0),
    ],
)
def test_requeue(lifecycle: Any, sent: bool, expected: float) -> None:
    assert requeue(lifecycle, Intervals(), sent=sent) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, 1.0),
        ({"ready": False}, 5.0),  # for GPUs, for example: only events bring news
        ({"ready": False, "ask_again_after": 8.0}, 8.0),
        ({"ask_again_after": 8.0}, 8.0),
    ],
)
def test_a_job_that_only_waits_is_polled_rarely(
    make: Any, change: dict[str, Any], expected: float
) -> None:
    job = make.job(status=make.status())
    pods = make.pods(job, ready=change.pop("ready", True))
    observed = make.observed(job, pods=pods, **change)
    plan = decide(observed, make.context())
    assert plan.coordinator_spec is not None
    state = make.state(spec_digest=plan.coordinator_spec.digest)
    plan = decide(make.observed(job, pods=pods, state=state, **change), make.context())
    assert plan.requeue == expected
