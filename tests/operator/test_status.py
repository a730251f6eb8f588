"""The status that comes out of an observation and a plan."""

import dataclasses
from typing import Any

import pytest

from sea_api.v1alpha1.policy import Role
from sea_api.v1alpha1.status import (
    CheckpointStatus,
    EvaluationResult,
    SpecEdit,
    Status,
    WeightsStatus,
)
from sea_api.wire.state import StagePhase, StageState
from sea_operator.decide import decide
from sea_operator.observed import Blocker
from sea_operator.status import compute


def ask(make: Any, observed: Any, rejected: Any = None, now: Any = None) -> Any:
    now = now or make.now
    return compute(
        observed, decide(observed, make.context(now=now)), (rejected,) if rejected else (), now
    )


def result(stage: Any, domain: Any, score: Any) -> Any:
    return EvaluationResult(stage=stage, domain=domain, tasks=8, episodes=32, pass_hat1=score)


def test_everything_the_coordinator_measured_is_told(make: Any) -> None:
    stage = StageState(
        name="sft", phase=StagePhase.RUNNING, step=12, total_steps=40, remaining_seconds=63.2
    )
    state = make.state(
        reward=0.123456,
        staleness=1.239,
        goodput=0.98765,
        generated_tokens_per_second=1234.5,
        trained_tokens_per_second=99.9,
        weights=WeightsStatus(published=3, adopted_min=2, adopted_max=3, engines=2),
        checkpoint=CheckpointStatus(
            stage="sft", version=2, step=10, time="2027-01-15T08:00:00Z", bytes=5
        ),
        evaluation=[result("e", "shop", 40.0), result("e", "average", 41.25)],
    ).model_copy(
        update={
            "stages": [stage],
            "skipped_rows": {"BadRow": 2, "DataNotFound": 1},
            "model_url": "s3://b/j/export/",
        }
    )
    status = ask(make, make.observed(state=state))
    assert status.skipped_rows == 3
    assert status.model_url == "s3://b/j/export/"
    assert (status.stage, status.step, status.total_steps) == ("sft", 12, 40)
    assert (status.progress, status.remaining_seconds) == ("12/40", 65)
    assert (status.reward, status.staleness, status.goodput) == (0.1235, 1.24, "98.8")
    assert (status.throughput.generated, status.throughput.trained) == (1200.0, 100.0)
    assert (status.pass1, len(status.evaluation)) == ("41.2", 2)
    assert status.weights.adopted_min == 2
    assert (status.checkpoint.stage, status.checkpoint.step) == ("sft", 10)
    assert status.state == "Waiting: CoordinatorBehind"
    assert status.run_url == "s3://bucket/prefix/j-0a1b2c3d"
    assert status.rollout_selector == "sea-operator.io/job=j,sea-operator.io/role=rollout"
    assert (status.roles.trainer.ready, status.roles.trainer.desired) == (2, 2)


def test_what_cannot_be_asked_now_stays_as_it_was(make: Any) -> None:
    before = make.status(reward=0.5, progress="7/9", step=7, pass1="33.0", stage="rl")
    status = ask(make, make.observed(make.job(status=before), state=None, unreachable="Gone."))
    assert (status.reward, status.progress, status.pass1) == (0.5, "7/9", "33.0")
    ready = next(c for c in status.conditions if c.type == "Ready")
    assert (ready.status, ready.message) == ("False", "Gone.")


def test_a_new_stage_forgets_the_steps_of_the_last(make: Any) -> None:
    before = make.status(progress="9/9", step=9, total_steps=9)
    status = ask(make, make.observed(make.job(status=before), state=make.state("sft")))
    assert (status.stage, status.progress, status.step) == ("rl", None, None)


def test_a_stage_whose_length_is_unknown_shows_no_progress(make: Any) -> None:
    status = ask(make, make.observed(state=make.state(stages=("sft",))))
    assert (status.step, status.total_steps, status.progress) == (0, 0, None)


@pytest.mark.parametrize("seconds", [0.2, 0.9])
def test_a_second_alone_changes_nothing(make: Any, seconds: float) -> None:
    observed = make.observed()
    first = ask(make, observed)
    again = dataclasses.replace(observed, job=make.job(status=first))
    assert ask(make, again, now=make.now + seconds) == first


def test_a_refused_child_stalls_the_job(make: Any) -> None:
    status = ask(make, make.observed(), Blocker("ChildRejected", "No."))
    stalled = next(c for c in status.conditions if c.type == "Stalled")
    assert (stalled.status, stalled.reason) == ("True", "ChildRejected")


def test_times_are_set_once(make: Any) -> None:
    first = ask(make, make.observed(make.job()))
    assert first.start_time == "2027-01-15T08:00:00Z"
    later = make.observed(make.job(status=first), state=make.state("sft", "rl", "eval"))
    done = ask(make, later, now=make.now + 60)
    assert (done.start_time, done.completion_time) == (
        "2027-01-15T08:00:00Z",
        "2027-01-15T08:01:00Z",
    )


def test_a_job_that_was_born_suspended_never_started(make: Any) -> None:
    job = make.job(spec=make.spec(suspend=True))
    status = ask(make, make.observed(job, children={}, pods=(), state=None, token=None))
    assert (status.stage, status.start_time) == (None, None)


def test_a_held_job_reports_the_pods_it_has(make: Any) -> None:
    status = ask(make, make.observed(secrets={}))
    assert (status.roles.trainer.desired, status.roles.trainer.ready) == (2, 2)


def test_an_unreadable_job_has_a_status_too(make: Any) -> None:
    status = ask(make, make.observed(make.job(invalid="The job can't be read: x. Edit the job.")))
    assert isinstance(status, Status)
    assert status.observed_generation == 1


def test_the_longest_address_fits_the_status(make: Any) -> None:
    """A status that the API server refuses would freeze its job."""
    spec = make.spec(storage={"url": "s3://bucket/".ljust(1024, "x")})
    job = make.job(spec=spec, name="j" * 40)
    found = ask(make, make.observed(job))
    assert Status.model_validate(found.model_dump()).run_url == found.run_url


def test_pods_that_are_not_even_made_are_told_with_where_to_look(make: Any) -> None:
    """As with a PriorityClass that doesn't exist: no pod is there to say so."""
    pods = tuple(pod for pod in make.observed().pods if pod.role is not Role.TRAINER)

    def message(lacking: frozenset[Role]) -> str:
        status = ask(make, make.observed(pods=pods, lacking=lacking))
        (ready,) = [one for one in status.conditions if one.type == "Ready"]
        return ready.message

    waiting = "Waiting for pods to become ready: trainer 0/2."
    assert message(frozenset({Role.TRAINER})) == (
        f"{waiting} StatefulSet j-trainer: 0 of 2 pods made; "
        "`kubectl describe statefulset -n n j-trainer` says why."
    )
    assert message(frozenset()) == waiting, "those of a new job are still being made"


@pytest.mark.parametrize(
    ("complete", "running", "fixed"),
    [
        ((), (), (None, None)),
        ((), ("sft",), (1, None)),
        (("sft",), (), (1, 1)),
        (("sft",), ("rl",), (2, 1)),
        (("sft", "rl"), ("eval",), (3, 2)),
    ],
)
def test_stages_that_have_begun_and_ended_are_counted(
    make: Any, complete: tuple[str, ...], running: tuple[str, ...], fixed: tuple[int, int]
) -> None:
    status = ask(make, make.observed(state=make.state(*complete, stages=running)))
    assert (status.stages_begun, status.stages_ended) == fixed


def test_a_coordinator_that_lost_its_ledger_frees_no_stage(make: Any) -> None:
    """The API server refuses edits by these counts: what has ended stays so."""
    before = make.status(stage="rl", stages_begun=2, stages_ended=1)
    status = ask(make, make.observed(make.job(status=before), state=make.state()))
    assert (status.stages_begun, status.stages_ended) == (2, 1)


def test_the_newest_edit_is_shown(make: Any) -> None:
    edit = SpecEdit(generation=4, message="The edit holds: checkpoint.everySteps at once.")
    assert ask(make, make.observed(state=make.state(edit=edit))).last_edit == edit
    before = make.status(last_edit=edit)
    assert ask(make, make.observed(make.job(status=before), state=None)).last_edit == edit
