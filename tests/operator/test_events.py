"""Events tell changes, once."""

from typing import Any

from sea_api.v1alpha1.status import Failure, SpecEdit
from sea_operator.report import between, event_body


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


def test_an_edit_is_told_when_it_is_known_and_when_a_step_follows_it(make: Any) -> None:
    first, then = (
        make.status(last_edit=SpecEdit(generation=4, message=f"The edit holds: x {when}."))
        for when in ("from the next step of stage 'rl' on", "from step 17 of stage 'rl' on")
    )
    assert reasons(make.status(), first) == [("SpecEdited", False)]
    (event,) = between(first, then)
    assert event.message == "Generation 4: The edit holds: x from step 17 of stage 'rl' on."
    assert between(then, then) == ()
