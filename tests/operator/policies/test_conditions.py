"""What kubectl, Flux and Argo CD read: each situation and its six conditions."""

from typing import Any

import pytest

from sea_api.wire.state import Fit, PlanVerdict
from sea_operator.observed import Blocker
from sea_operator.plan import Lifecycle, Outcome, Suspension
from sea_operator.policies.conditions import Situation, conditions, state_of

FULL = {"trainer": (2, 2)}
SHORT = {"trainer": (1, 2), "rollout": (0, 1)}
HALT = Blocker("DataNotFound", "s3://x doesn't exist; change spec.data.")
OUTAGE = Blocker("StoreFails", "S3 is down. It is tried again.", transient=True)
FAILED = Lifecycle(outcome=Outcome.FAILED, failed=Blocker("RestartBudgetExhausted", "Too many."))

TABLE = [
    # situation, Ready, Reconciling, Stalled, Suspended, Complete, Failed
    (Situation(Lifecycle(), FULL), "True False False False False False"),
    (Situation(Lifecycle(), SHORT), "False True False False False False"),
    (Situation(Lifecycle(), FULL, pending="Wait."), "False True False False False False"),
    (Situation(Lifecycle(blocker=HALT), FULL), "False False True False False False"),
    (Situation(Lifecycle(blocker=OUTAGE), FULL), "False True False False False False"),
    (Situation(Lifecycle(), FULL, failed=(HALT,)), "False False True False False False"),
    (
        Situation(Lifecycle(suspension=Suspension.DRAINING), FULL),
        "False True False Unknown False False",
    ),
    (
        Situation(Lifecycle(suspension=Suspension.RELEASED), FULL),
        "True False False True False False",
    ),
    (Situation(Lifecycle(outcome=Outcome.COMPLETE), SHORT), "True False False False True False"),
    (Situation(FAILED, SHORT), "False False True False False True"),
]
STATES = [
    (Situation(Lifecycle(), FULL), "Running"),
    (Situation(Lifecycle(), SHORT), "Waiting: PodsNotReady"),
    (Situation(Lifecycle(), FULL, pending="Wait."), "Waiting: CoordinatorBehind"),
    (Situation(Lifecycle(warning=OUTAGE), FULL), "Waiting: StoreFails"),
    (Situation(Lifecycle(suspension=Suspension.DRAINING), FULL), "Waiting: Draining"),
    (Situation(Lifecycle(blocker=HALT), FULL), "Stalled: DataNotFound"),
    (
        Situation(Lifecycle(blocker=HALT, suspension=Suspension.RELEASED), FULL),
        "Stalled: DataNotFound",
    ),
    (Situation(Lifecycle(suspension=Suspension.RELEASED), FULL), "Suspended"),
    (Situation(Lifecycle(outcome=Outcome.COMPLETE, blocker=HALT), SHORT), "Complete"),
    (Situation(FAILED, SHORT), "Failed"),
]


NINE = 1_800_003_600.0
"""2027-01-15T09:00:00Z."""


def ask(situation: Any, before: Any = (), now: float = NINE) -> Any:
    return {found.type: found for found in conditions(situation, list(before), 7, now)}


@pytest.mark.parametrize(("situation", "expected"), TABLE)
def test_the_six(situation: Any, expected: Any) -> None:
    found = ask(situation)
    order = ("Ready", "Reconciling", "Stalled", "Suspended", "Complete", "Failed")
    assert list(found) == list(order)
    assert " ".join(found[kind].status for kind in order) == expected
    assert {condition.observed_generation for condition in found.values()} == {7}


@pytest.mark.parametrize(("situation", "expected"), STATES)
def test_the_column_state_tells_every_situation_apart(situation: Any, expected: str) -> None:
    assert state_of(list(ask(situation).values())) == expected


def test_a_person_reads_what_is_missing() -> None:
    found = ask(Situation(Lifecycle(), SHORT))["Ready"]
    assert found.reason == "PodsNotReady"
    assert found.message == "Waiting for pods to become ready: trainer 1/2, rollout 0/1."


def test_a_person_reads_why() -> None:
    """Every reason, each with three of its pods at most."""
    image = "container engine can't start: ImagePullBackOff: no such image"
    waiting = {f"j-rollout-{i}": image for i in "0123"} | {"j-trainer-0": "Unschedulable: no GPU."}
    found = ask(Situation(Lifecycle(), SHORT, waiting=waiting))["Ready"]
    assert found.message == (
        "Waiting for pods to become ready: trainer 1/2, rollout 0/1. "
        f"j-rollout-0, j-rollout-1, j-rollout-2 and 1 more: {image}. "
        "j-trainer-0: Unschedulable: no GPU."
    )


def test_reasons_are_bounded() -> None:
    waiting = {f"j-rollout-{i}": f"reason {i}" for i in range(20)}
    message = ask(Situation(Lifecycle(), SHORT, waiting=waiting))["Ready"].message
    assert message.endswith(" j-rollout-7: reason 7. 12 more reasons.")


def test_a_problem_goes_through_word_by_word() -> None:
    found = ask(Situation(Lifecycle(blocker=HALT), FULL))
    assert (found["Stalled"].reason, found["Stalled"].message) == (HALT.reason, HALT.message)
    assert found["Ready"].reason == HALT.reason


def test_the_transition_time_moves_with_the_status_only(make: Any) -> None:
    before = [
        make.condition("Ready", "True", reason="Other"),
        make.condition("Stalled", "True"),
    ]
    found = ask(Situation(Lifecycle(), FULL), before)
    assert found["Ready"].last_transition_time == "2027-01-15T08:00:00Z"
    assert found["Stalled"].last_transition_time == "2027-01-15T09:00:00Z"


def test_a_transition_that_is_still_to_come_begins_now(make: Any) -> None:
    """Of a leader whose clock ran ahead: a drain would last for so much longer."""
    before = [make.condition("Ready", "True", last_transition_time="2027-01-15T11:00:00Z")]
    found = ask(Situation(Lifecycle(), FULL), before)
    assert found["Ready"].last_transition_time == "2027-01-15T09:00:00Z"


def test_messages_fit_the_crd() -> None:
    huge = Blocker("X", "y" * 10000)
    assert len(ask(Situation(Lifecycle(blocker=huge), FULL))["Stalled"].message) == 4096


@pytest.mark.parametrize(
    ("fit", "status"), [(Fit.FITS, "True"), (Fit.TIGHT, "True"), (Fit.DOES_NOT_FIT, "False")]
)
def test_the_plans_verdict_is_a_condition(fit: Fit, status: str) -> None:
    plan = PlanVerdict(fit=fit, message="Each GPU of the trainer needs 120 GB of 150 GB.")
    found = ask(Situation(Lifecycle(), FULL, plan=plan))["Planned"]
    assert (found.status, found.reason, found.message) == (status, fit.value, plan.message)
    assert "Planned" not in ask(Situation(Lifecycle(), FULL))


def test_a_verdict_stays_while_the_coordinator_does_not_answer() -> None:
    plan = PlanVerdict(fit=Fit.TIGHT, message="Nearly full.")
    before = list(ask(Situation(Lifecycle(), FULL, plan=plan)).values())
    kept = ask(Situation(Lifecycle(), FULL, plan_unknown=True), before)["Planned"]
    assert kept.reason == "Tight"
    assert "Planned" not in ask(Situation(Lifecycle(), FULL), before)
