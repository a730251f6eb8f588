"""Sizes of the roles in every phase of a job."""

from dataclasses import replace
from typing import Any

import pytest

from sea_api.v1alpha1.policy import Role
from sea_api.v1alpha1.status import Roles, RoleStatus
from sea_operator.coordinator_spec import coordinator_spec
from sea_operator.decide import decide
from sea_operator.plan import Suspension
from sea_operator.policies.role_sizes import replicas, resized, sizes
from sea_operator.sizing import is_checked

FULL = {Role.COORDINATOR: 1, Role.TRAINER: 2, Role.ROLLOUT: 1, Role.USER: 1}


def ask(
    make: Any,
    observed: Any = None,
    spec: Any = None,
    over: Any = False,
    suspension: Any = Suspension.NONE,
) -> Any:
    observed = observed or make.observed()
    spec = spec or observed.job.spec
    full = sizes(spec, 0)
    checked = is_checked(observed, spec, 0)
    return replicas(observed, spec, full, over=over, suspension=suspension, checked=checked)


def current(job: Any, **other: Any) -> str:
    """Digest of what the job's coordinator has, if it has the newest."""
    asked = {"stage_index": 0, "attempt": 1, "drain": False, **other}
    return coordinator_spec(job, job.spec, **asked).digest


def test_a_running_job_has_its_full_size(make: Any) -> None:
    assert ask(make) == FULL


def test_a_job_without_a_served_user_model_has_no_such_role(make: Any) -> None:
    spec = make.spec(userModel={"engine": "Scripted"})
    assert Role.USER not in ask(make, spec=spec)


def test_nothing_runs_once_the_job_is_over_or_released(make: Any) -> None:
    assert set(ask(make, over=True).values()) == {0}
    assert set(ask(make, suspension=Suspension.RELEASED).values()) == {0}


def test_while_draining_nothing_grows_again(make: Any) -> None:
    job = make.job()
    shrunk = {**FULL, Role.TRAINER: 0}
    observed = make.observed(job, children=make.children(job, shrunk))
    assert ask(make, observed, suspension=Suspension.DRAINING) == shrunk
    gone = make.observed(job, children={})
    assert set(ask(make, gone, suspension=Suspension.DRAINING).values()) == {0}


GPUS = {"trainer": {"gpusPerPod": 8}, "rollout": {"gpusPerPod": 8}}
HELD = {**FULL, Role.TRAINER: 0, Role.ROLLOUT: 0}


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (None, HELD),
        ({"prepared": False}, HELD),
        ({"prepared": True}, FULL),
        ({}, FULL),  # a coordinator of a release that doesn't say
    ],
)
def test_pods_with_gpus_wait_for_the_coordinators_check(
    make: Any, state: Any, expected: Any
) -> None:
    job = make.job(spec=make.spec(**GPUS))
    told = None if state is None else make.state(spec_digest=current(job), **state)
    observed = make.observed(job, children={}, pods=(), state=told)
    assert ask(make, observed) == expected


@pytest.mark.parametrize(
    "of_another",
    [{"stage_index": 1}, {"attempt": 2}, {"drain": True}, None],
    ids=["stage", "attempt", "drain", "generation"],
)
def test_a_check_of_an_older_spec_starts_no_pods_with_gpus(make: Any, of_another: Any) -> None:
    """For a second after an edit the coordinator reports what it found of the spec before."""
    job = make.job(spec=make.spec(**GPUS), generation=2)
    older = current(job, **of_another) if of_another else current(replace(job, generation=1))
    state = make.state(prepared=True, spec_digest=older)
    observed = make.observed(job, children={}, pods=(), state=state)
    assert ask(make, observed) == HELD


@pytest.mark.parametrize("state", [None, {"prepared": False}])
def test_pods_with_gpus_that_are_there_stay(make: Any, state: Any) -> None:
    """What they have loaded is worth more than the GPUs that a mistake costs meanwhile."""
    job = make.job(spec=make.spec(**GPUS))
    told = None if state is None else make.state(**state)
    assert ask(make, make.observed(job, state=told)) == FULL
    shrunk = make.observed(job, children=make.children(job, HELD), state=told)
    assert ask(make, shrunk) == HELD


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (2, 2, False),
        (2, 4, True),
        (4, 2, True),
        (None, 2, False),  # a job that begins
        (0, 2, False),  # one that is resumed: a new attempt for a reason of its own
        (2, 0, True),  # a stage without training: the attempt ends with its pods
        (0, 0, False),
    ],
)
def test_a_trainer_that_ran_with_another_size_is_resized(
    make: Any, before: int | None, now: int, expected: bool
) -> None:
    told = None if before is None else Roles(trainer=RoleStatus(desired=before, ready=1))
    assert resized(make.status(roles=told), {Role.TRAINER: now}) is expected


LAYOUTS = [
    {"replicas": 4},
    {"parallelism": {"tensor": 2}},
    {"gpusPerPod": 2},
]


@pytest.mark.parametrize("edit", LAYOUTS)
@pytest.mark.parametrize("checked", [False, True])
def test_an_attempt_that_works_outlives_an_unchecked_edit_of_its_layout(
    make: Any, edit: Any, checked: bool
) -> None:
    """A layout that can't be loaded is refused before any pod is gone."""
    before = make.job(status=make.status(roles=Roles(trainer=RoleStatus(desired=2, ready=2))))
    live, pods = make.children(before), make.pods(before)
    job = make.job(spec=make.spec(trainer=edit), status=before.status, generation=2)
    state = make.state(prepared=checked, spec_digest=current(job) if checked else "older")
    plan = decide(make.observed(job, children=live, pods=pods, state=state), make.context())
    sets = [child for child in plan.applies if child["metadata"]["name"] == "j-trainer"]
    assert bool([one for one in sets if one["kind"] == "StatefulSet"]) is checked
    assert plan.lifecycle.replicas[Role.TRAINER] == (edit.get("replicas", 2) if checked else 2)
    assert plan.lifecycle.attempt == (2 if checked and "replicas" in edit else 1)
    assert not [one for one in plan.removals if "trainer" in one.name]
    assert plan.send or checked, "the coordinator gets the edit, and looks at it"


@pytest.mark.parametrize("edit", LAYOUTS)
def test_an_attempt_that_failed_is_not_protected(make: Any, edit: Any) -> None:
    """The edit may be what helps it."""
    before = make.job(status=make.status(roles=Roles(trainer=RoleStatus(desired=2, ready=2))))
    job = make.job(spec=make.spec(trainer=edit), status=before.status, generation=2)
    state = make.state(prepared=False, trainer_failure=make.failure(cause="UserError"))
    seen = make.observed(job, children=make.children(before), pods=make.pods(before), state=state)
    plan = decide(seen, make.context())
    assert "j-trainer" in [one["metadata"]["name"] for one in plan.applies]
    assert plan.lifecycle.attempt == 2
