"""`checkpoint.rollbackTo`: looked at first, gone back to by a new attempt, once per value."""

from typing import Any

import pytest

from sea_api.v1alpha1.status import RollbackRequest
from sea_api.wire.state import RollbackCheck
from sea_operator.decide import decide
from sea_operator.report import between
from sea_operator.status import compute

TARGET = {"stage": "rl", "step": 40}
ASKED = RollbackRequest(stage="rl", step=40, generation=3, state="Checking")
GOING = ASKED.model_copy(update={"state": "GoingBack", "attempt": 2})
DONE = GOING.model_copy(update={"state": "Done"})
REFUSED = ASKED.model_copy(update={"state": "Refused", "message": "There is none."})
SOUND = RollbackCheck(generation=3)
BAD = RollbackCheck(generation=3, problem="There is none.")
CARRIED_OUT = RollbackCheck(generation=3, done=True)


def plan_of(
    make: Any,
    *,
    stored: RollbackRequest | None,
    check: RollbackCheck | None = None,
    target: dict[str, Any] | None = TARGET,
    generation: int = 3,
    attempt: int = 1,
    **spec: Any,
) -> tuple[Any, Any]:
    """The plan of a job that runs stage `rl`, and the status that follows from it."""
    wanted = make.spec(**({"checkpoint": {"rollbackTo": target}} if target else {}), **spec)
    status = make.status(stage="rl", rollback=stored, trainer_attempt=attempt)
    job = make.job(spec=wanted, status=status, generation=generation)
    state = make.state("sft", stages=("rl",), rollback_check=check, attempt=attempt)
    seen = make.observed(job, state=state)
    plan = decide(seen, make.context())
    return plan, compute(seen, plan, [], make.now)


def test_a_value_is_kept_in_the_status_before_the_coordinator_hears_of_it(make: Any) -> None:
    """A status write that fails would otherwise give the same value another generation."""
    plan, status = plan_of(make, stored=None)
    assert status.rollback == ASKED
    assert plan.coordinator_spec.rollback is None
    assert plan.lifecycle.attempt == 1


def test_the_checkpoint_is_looked_at_before_the_attempt_ends(make: Any) -> None:
    plan, status = plan_of(make, stored=ASKED)
    order = plan.coordinator_spec.rollback
    assert (order.stage, order.step, order.generation, order.attempt) == ("rl", 40, 3, None)
    assert plan.lifecycle.attempt == 1
    assert status.rollback == ASKED


def test_a_sound_checkpoint_begins_one_attempt(make: Any) -> None:
    plan, status = plan_of(make, stored=ASKED, check=SOUND)
    assert plan.lifecycle.attempt == plan.coordinator_spec.rollback.attempt == 2
    assert status.rollback == GOING
    before = make.status(stage="rl", rollback=ASKED)
    (event,) = (one for one in between(before, status) if one.reason == "NewAttempt")
    assert event.message == "Attempt 2 begins. It goes back to step 40 of stage rl."
    plan, status = plan_of(make, stored=GOING, check=SOUND, attempt=2)
    assert plan.lifecycle.attempt == 2
    assert status.rollback == GOING


def test_a_refused_checkpoint_ends_nothing_and_says_why(make: Any) -> None:
    plan, status = plan_of(make, stored=ASKED, check=BAD)
    assert plan.lifecycle.attempt == 1
    assert status.rollback == REFUSED
    assert "There is none." in plan.lifecycle.note
    (event,) = (one for one in between(make.status(rollback=ASKED), status) if "Roll" in one.reason)
    assert (event.reason, event.warning) == ("RollbackRefused", True)
    assert "step 40 of stage rl" in event.message
    assert "There is none." in event.message
    more = BAD.model_copy(update={"problem": "There is none. It has steps 10, 20."})
    _, later = plan_of(make, stored=REFUSED, check=more)
    assert later.rollback.message == more.problem
    told = (one.reason for one in between(make.status(rollback=REFUSED), later))
    assert "RollbackRefused" not in told
    # Its objects may be put back.
    plan, _ = plan_of(make, stored=REFUSED, check=SOUND)
    assert plan.lifecycle.attempt == 2


@pytest.mark.parametrize("generation", [3, 7])
def test_what_was_done_is_not_done_again(make: Any, generation: int) -> None:
    """Neither with a coordinator that lost its ledger, nor after another edit."""
    _, status = plan_of(make, stored=GOING, check=CARRIED_OUT, attempt=2)
    assert status.rollback == DONE
    for check in (None, CARRIED_OUT):
        plan, status = plan_of(make, stored=DONE, check=check, attempt=2, generation=generation)
        assert plan.coordinator_spec.rollback is None
        assert (plan.lifecycle.attempt, status.rollback) == (2, DONE)


@pytest.mark.parametrize(
    ("stored", "target", "expected"),
    [
        (DONE, None, None),
        (None, TARGET, 9),
        (DONE, {"stage": "rl", "step": 20}, 9),
        (DONE, TARGET, 3),
    ],
    ids=["removed", "set again", "another step", "left as it was"],
)
def test_a_request_is_known_by_the_generation_that_first_had_it(
    make: Any, stored: Any, target: Any, expected: int | None
) -> None:
    _, status = plan_of(make, stored=stored, target=target, generation=9)
    assert (status.rollback.generation if status.rollback else None) == expected


@pytest.mark.parametrize("attempts", ["of the request", "of an edit of the trainer"])
def test_another_reason_for_an_attempt_costs_no_second_one(make: Any, attempts: str) -> None:
    failed = make.failure() if attempts != "of the request" else None
    wanted = make.spec(checkpoint={"rollbackTo": TARGET})
    job = make.job(spec=wanted, status=make.status(stage="rl", rollback=ASKED), generation=3)
    state = make.state("sft", stages=("rl",), rollback_check=SOUND, trainer_failure=failed)
    plan = decide(make.observed(job, state=state), make.context())
    assert plan.coordinator_spec is not None
    assert plan.coordinator_spec.rollback is not None
    assert plan.lifecycle.attempt == plan.coordinator_spec.rollback.attempt == 2


def test_an_answer_about_an_older_request_counts_for_nothing(make: Any) -> None:
    again = ASKED.model_copy(update={"generation": 5})
    plan, status = plan_of(make, stored=again, check=SOUND, generation=5)
    assert (plan.lifecycle.attempt, status.rollback) == (1, again)


def test_a_suspended_job_goes_back_once_it_runs_again(make: Any) -> None:
    plan, status = plan_of(make, stored=ASKED, check=SOUND, suspend=True)
    assert (plan.lifecycle.attempt, status.rollback) == (1, ASKED)


@pytest.mark.parametrize("stored", [None, ASKED, GOING, DONE])
def test_a_complete_job_says_that_its_stages_have_ended(make: Any, stored: Any) -> None:
    """It has no coordinator any more: the checkpoint was `Checking` for ever."""
    done = make.condition("Complete", "True")
    status = make.status(done, stage="rl", rollback=stored, stages_ended=2)
    spec = make.spec(checkpoint={"rollbackTo": TARGET})
    seen = make.observed(make.job(spec=spec, status=status, generation=3), state=None)
    found = decide(seen, make.context()).lifecycle
    if stored == DONE:
        assert found.rollback == DONE
        return
    assert found.rollback is not None
    assert (found.rollback.state, found.rollback.attempt) == ("Refused", None)
    assert "Stage rl has ended" in (found.note or "")


@pytest.mark.parametrize(("stored", "attempt"), [(ASKED, 1), (GOING, 2)])
def test_a_coordinator_of_a_release_that_can_not_go_back_keeps_nobody_waiting(
    make: Any, stored: RollbackRequest, attempt: int
) -> None:
    """It ignores the order and never answers, also one that was silent when an attempt went along;
    the one that follows it looks."""
    spec = make.spec(checkpoint={"rollbackTo": TARGET})
    status = make.status(stage="rl", rollback=stored, trainer_attempt=attempt)
    job = make.job(spec=spec, status=status, generation=3)
    older = make.state("sft", stages=("rl",), rank_pods=None)
    found = decide(make.observed(job, state=older), make.context()).lifecycle
    assert found.rollback is not None
    assert (found.rollback.state, found.attempt) == ("Refused", attempt)
    assert "set spec.suspend to true and back" in (found.note or "")
    plan, _ = plan_of(make, stored=found.rollback, check=SOUND)
    assert plan.coordinator_spec.rollback.attempt == 2


@pytest.mark.parametrize("stored", [None, ASKED])
@pytest.mark.parametrize("before", ["failed", "suspended"])
def test_the_first_attempt_of_a_job_that_runs_again_goes_back(
    make: Any, before: str, stored: RollbackRequest | None
) -> None:
    """It cost a needless attempt: nobody had looked at the checkpoint before the job ran."""
    was = (
        make.condition("Failed", "True", reason="RestartBudgetExhausted")
        if before == "failed"
        else make.condition("Suspended", "True", reason="Released")
    )
    status = make.status(
        was, stage="rl", rollback=stored, trainer_attempt=4, failed_spec="of the spec that failed"
    )
    spec = make.spec(checkpoint={"rollbackTo": TARGET})
    job = make.job(spec=spec, status=status, generation=3)
    seen = make.observed(job, state=None, pods=())
    plan = decide(seen, make.context())
    going = ASKED.model_copy(update={"state": "GoingBack", "attempt": 5})
    assert (plan.lifecycle.attempt, plan.lifecycle.rollback) == (5, going)
    # The coordinator hears of both together, and its trainer waits for the look.
    after = compute(seen, plan, [], make.now)
    state = make.state("sft", stages=("rl",), attempt=4)
    seen = make.observed(make.job(spec=spec, status=after, generation=3), state=state)
    plan = decide(seen, make.context())
    sent = plan.coordinator_spec
    assert sent is not None
    assert sent.rollback is not None
    assert (sent.attempt, sent.rollback.attempt) == (5, 5)
    # A checkpoint that isn't sound costs nothing more: the attempt trains from the newest.
    state = make.state("sft", stages=("rl",), attempt=5, rollback_check=BAD)
    seen = make.observed(make.job(spec=spec, status=after, generation=3), state=state)
    plan = decide(seen, make.context())
    assert (plan.lifecycle.attempt, plan.lifecycle.rollback) == (5, REFUSED)
