"""Events tell changes, once."""

from typing import Any

from sea_api.v1alpha1.status import Failure
from sea_operator.report import between, event_body, report


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


def test_a_restart_is_told_with_its_cause(make: Any) -> None:
    failure = Failure(role="Trainer", cause="Hang", message="Silent.", time="2027-01-15T08:00:00Z")
    restarted = make.status(trainer_attempt=2, last_failure=failure)
    (event,) = between(make.status(), restarted)
    assert (event.reason, event.warning) == ("NewAttempt", True)
    assert "Attempt 2 begins. Hang of Trainer: Silent." in event.message
    assert between(restarted, restarted) == ()


def test_the_body_names_the_job(make: Any) -> None:
    (event,) = between(make.status(stage=None), make.status())
    written = event_body(make.job(), event, "me", make.now)
    assert written["involvedObject"]["uid"] == make.uid
    assert written["metadata"] == {"generateName": "j.", "namespace": "n"}
    assert (written["type"], written["firstTimestamp"]) == ("Normal", "2027-01-15T08:00:00Z")


class Writes:
    """The API server's place in a report: keeps what is written."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []

    async def merge(self, kind: Any, body: dict[str, Any], sub: str) -> dict[str, Any]:
        self.bodies.append(body)
        return {"metadata": {"name": "j", "namespace": "n", "uid": "u", "resourceVersion": "2"}}

    async def create(self, kind: Any, namespace: str, body: dict[str, Any]) -> None:
        self.bodies.append(body)

    def wrote(self, kind: Any, live: Any) -> None:
        """The cache's part."""


async def test_no_credential_of_a_message_gets_into_status_or_event(make: Any) -> None:
    message = "GET s3://b: Invalid header b'AWS4-HMAC-SHA256 Credential=AKIAX, Signature=0abc'."
    failure = Failure(role="Trainer", cause="Hang", message=message, time="2027-01-15T08:00:00Z")
    stalled = make.condition("Stalled", "True", reason="StoreFails", message=message)
    status = make.status(stalled, trainer_attempt=2, last_failure=failure)
    server: Any = Writes()
    job = make.job(status=make.status())
    assert await report(server, server, job, status, identity="me", now=make.now)
    written, *events = server.bodies
    assert {event["reason"] for event in events} == {"StoreFails", "NewAttempt"}
    for body in (written, *events):
        assert "[redacted]" in str(body)
        assert "AKIAX" not in str(body)
        assert "0abc" not in str(body)
