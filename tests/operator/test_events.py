"""Events tell changes, once."""

from types import SimpleNamespace
from typing import Any

import pytest

from sea_api.v1alpha1.elastic_status import ElasticRole, ElasticStatus
from sea_api.v1alpha1.status import (
    CheckpointStatus,
    EvaluationResult,
    Failure,
    Roles,
    RoleStatus,
    Rollback,
    RollbackRequest,
    SpecEdit,
    Status,
    WeightsStatus,
    WrongWeightsStatus,
)
from sea_operator.action_backoff import ActionBackoff
from sea_operator.report import between, event_body
from sea_operator.status_writer import StatusWriter


def reasons(old: Any, new: Any) -> Any:
    return [(event.reason, event.warning) for event in between(old, new)]


def test_only_changes_are_told(make: Any) -> None:
    calm = make.status(make.condition("Stalled", "False"), make.condition("Complete", "False"))
    stalled = make.status(make.condition("Stalled", "True", reason="DataNotFound"))
    other = make.status(make.condition("Stalled", "True", reason="BadRow"))
    assert reasons(calm, stalled) == [("DataNotFound", True)]
    assert reasons(stalled, stalled) == []
    assert reasons(stalled, other) == [("BadRow", True)]
    assert reasons(stalled, calm) == []


def test_a_problem_that_is_tried_again_is_told_once_and_waiting_is_not(make: Any) -> None:
    waits = make.status(make.condition("Reconciling", "True", reason="PodsNotReady"))
    outage = make.status(make.condition("Reconciling", "True", reason="StoreFails"))
    assert reasons(make.status(), waits) == []
    assert reasons(waits, outage) == [("StoreFails", True)]
    assert reasons(outage, outage) == []


def test_the_life_of_a_job(make: Any) -> None:
    done = make.status(make.condition("Complete", "True", reason="Completed"))
    draining = make.status(make.condition("Suspended", "Unknown", reason="Draining"))
    assert reasons(make.status(), done) == [("Completed", False)]
    assert reasons(make.status(), draining) == [("Draining", False)]
    assert reasons(make.status(stage=None), make.status()) == [("StageStarted", False)]
    assert reasons(make.status(), make.status(stage="rl")) == [("StageStarted", False)]


def test_a_tight_plan_is_a_warning_and_others_are_no_news(make: Any) -> None:
    fits = make.status(make.condition("Planned", "True", reason="Fits"))
    tight = make.status(make.condition("Planned", "True", reason="Tight"))
    never = make.status(make.condition("Planned", "False", reason="DoesNotFit"))
    assert reasons(make.status(), fits) == []
    assert reasons(fits, tight) == [("Tight", True)]
    assert reasons(tight, tight) == []
    assert reasons(make.status(), never) == []


def test_a_restart_is_told_with_its_cause(make: Any) -> None:
    failure = Failure(role="Trainer", cause="Hang", message="Silent.", time="2027-01-15T08:00:00Z")
    restarted = make.status(trainer_attempt=2, last_failure=failure)
    (event,) = between(make.status(), restarted)
    assert (event.reason, event.warning) == ("NewAttempt", True)
    assert "Attempt 2 begins. Hang of Trainer: Silent." in event.message
    assert between(restarted, restarted) == ()


def sizes(trainer: int) -> Roles:
    return Roles(trainer=RoleStatus(desired=trainer, ready=0))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ({"fenced": None}, {"fenced": ["u"]}, "Pods of the one before are on dead nodes."),
        ({"roles": sizes(2)}, {"roles": sizes(4)}, "The trainer has 4 pods instead of 2."),
        (
            {"roles": sizes(2)},
            {"roles": sizes(0)},
            "The trainer's pods went with their stage; those of the next one join it.",
        ),
        ({}, {}, "The spec or a Secret was changed."),
    ],
)
def test_an_attempt_without_a_failure_says_why_it_begins(
    make: Any, old: Any, new: Any, says: str
) -> None:
    events = between(make.status(**old), make.status(trainer_attempt=2, **new))
    (event,) = [event for event in events if event.reason == "NewAttempt"]
    assert (event.message, event.warning) == (f"Attempt 2 begins. {says}", False)


def test_a_resumed_job_begins_an_attempt_and_a_new_one_does_not(make: Any) -> None:
    suspended = make.status(make.condition("Suspended", "True", reason="Released"))
    resumed = make.status(make.condition("Suspended", "False"), trainer_attempt=2)
    (event,) = between(suspended, resumed)
    assert event.message == "Attempt 2 begins. The job is resumed."
    assert reasons(Status(), make.status(stage=None)) == []


def test_a_fence_is_told_once(make: Any) -> None:
    before = make.status(fenced=["a"], trainer_attempt=2)
    after = make.status(fenced=["a", "b", "c"], trainer_attempt=3)
    (event,) = [event for event in between(before, after) if event.reason == "Fenced"]
    assert event.message == "2 pods on dead nodes can't commit any more: attempt 3 can."
    assert between(after, after) == ()


def saved(stage: str, time: str, step: int = 1) -> CheckpointStatus:
    return CheckpointStatus(
        stage=stage, version=step, step=step, time=f"2027-01-15T{time}Z", bytes=2_500_000_000
    )


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (None, saved("sft", "08:00:00"), True),
        (saved("sft", "08:00:00"), saved("sft", "08:00:00"), False),
        (saved("sft", "08:00:00"), saved("sft", "08:00:07", 2), False),
        (saved("sft", "08:00:00"), saved("rl", "08:00:07"), True),
        (saved("sft", "08:09:59"), saved("sft", "08:10:00", 2), True),
    ],
)
def test_checkpoints_are_told_but_not_each_one(
    make: Any, before: Any, after: Any, told: bool
) -> None:
    events = between(make.status(checkpoint=before), make.status(checkpoint=after))
    assert bool(events) is told
    if events:
        assert events[0].reason == "CheckpointSaved"
        assert events[0].message == f"Checkpoint of stage {after.stage}, step {after.step}, 2.5 GB."


def test_each_evaluation_is_told_with_its_scores(make: Any) -> None:
    def result(stage: str, domain: str, score: float) -> EvaluationResult:
        return EvaluationResult(stage=stage, domain=domain, tasks=8, episodes=32, pass_hat1=score)

    first = [result("before", "shop", 10.0)]
    both = [*first, result("after", "shop", 50.0), result("after", "average", 50.0)]
    (event,) = between(make.status(evaluation=first), make.status(evaluation=both))
    assert (event.reason, event.warning) == ("Evaluated", False)
    assert event.message == (
        "Stage after, pass^1: shop 50.0 % of 8 tasks, average 50.0 % of 8 tasks."
    )
    assert between(make.status(evaluation=both), make.status(evaluation=both)) == ()


def test_the_body_names_the_job(make: Any) -> None:
    (event,) = between(make.status(stage=None), make.status())
    written = event_body(make.job(), event, "me", make.now)
    assert written["involvedObject"]["uid"] == make.uid
    assert written["metadata"] == {"generateName": "j.", "namespace": "n"}
    assert (written["type"], written["firstTimestamp"]) == ("Normal", "2027-01-15T08:00:00Z")


def test_an_edit_is_told_when_it_is_known_and_when_a_step_follows_it(make: Any) -> None:
    first, then = (
        make.status(last_edit=SpecEdit(generation=4, message=f"The edit holds: x {when}."))
        for when in ("from the next step of stage 'rl' on", "from step 17 of stage 'rl' on")
    )
    assert reasons(make.status(), first) == [("SpecEdited", False)]
    (event,) = between(first, then)
    assert event.message == "Generation 4: The edit holds: x from step 17 of stage 'rl' on."
    assert between(then, then) == ()


class Writes:
    """The API server's place in a report: keeps what is written."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []

    async def merge(self, kind: Any, body: dict[str, Any], sub: str) -> dict[str, Any]:
        self.bodies.append(body)
        return {"metadata": {"name": "j", "namespace": "n", "uid": "u", "resourceVersion": "2"}}

    async def record(self, namespace: str, body: dict[str, Any]) -> None:
        self.bodies.append(body)

    def wrote(self, kind: Any, live: Any) -> None:
        """The cache's part."""


async def test_no_credential_of_a_message_gets_into_status_or_event(make: Any) -> None:
    message = "GET s3://b: Invalid header b'AWS4-HMAC-SHA256 Credential=AKIAX, Signature=0abc'."
    failure = Failure(role="Trainer", cause="Hang", message=message, time="2027-01-15T08:00:00Z")
    stalled = make.condition("Stalled", "True", reason="StoreFails", message=message)
    full = ElasticRole(state="Full", size=2, asked=2, began_with=2, since=failure.time)
    given_up = full.model_copy(update={"asked": 1, "message": message})
    status = make.status(
        stalled,
        trainer_attempt=2,
        last_failure=failure,
        elastic=ElasticStatus(rollout=given_up),
        rollback=RollbackRequest(
            stage="rl", step=4, generation=2, state="Refused", message=message
        ),
        weights=WeightsStatus(
            published=1, adopted_min=1, adopted_max=1, engines=1, transport=message
        ),
    )
    server = Writes()
    job = make.job(status=make.status(elastic=ElasticStatus(rollout=full)))
    sources: Any = SimpleNamespace(client=server, cache=server)
    backoff = ActionBackoff(lambda: 0.0)
    assert await StatusWriter(sources, "me").report(job, status, backoff, make.now)
    written, *events = server.bodies
    assert {event["reason"] for event in events} == {
        "StoreFails",
        "NewAttempt",
        "PodsGivenUp",
        "RollbackRefused",
    }
    for body in (written, *events):
        assert "[redacted]" in str(body)
        assert "AKIAX" not in str(body)
        assert "0abc" not in str(body)


def test_going_back_to_an_older_checkpoint_is_a_warning(make: Any) -> None:
    """Once for each time; the message names both steps."""
    went = Rollback(stage="rl", from_step=60, step=40, time="2027-01-15T08:00:00Z")
    before, after = make.status(), make.status(last_rollback=went)
    assert reasons(before, after) == [("RolledBack", True)]
    assert reasons(after, after) == []
    again = make.status(last_rollback=went.model_copy(update={"step": 20}))
    assert reasons(after, again) == [("RolledBack", True)]


def test_an_engine_with_wrong_weights_is_a_warning(make: Any) -> None:
    """Once for each time; with the pod, the version and what differed."""
    found = WrongWeightsStatus(
        pod="job-rollout-1", version=40, tensors=["a.weight"], time="2027-01-15T08:00:00Z"
    )
    weights = WeightsStatus(
        published=41, adopted_min=39, adopted_max=41, engines=2, last_wrong=found
    )
    before = make.status(weights=weights.model_copy(update={"last_wrong": None}))
    after = make.status(weights=weights)
    (event,) = between(before, after)
    assert (event.reason, event.warning) == ("WrongWeights", True)
    for word in ("job-rollout-1", "version 40", "a.weight"):
        assert word in event.message
    assert between(after, after) == ()
    assert reasons(make.status(), after) == [("WrongWeights", True)]
