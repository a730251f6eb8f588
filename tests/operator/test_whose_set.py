"""StatefulSets under a job's names that aren't its own: an earlier job's, or a stranger's."""

import copy
from typing import Any

import pytest

from sea_api.contract import MADE_BY_ANNOTATION
from sea_api.v1alpha1.policy import Role
from sea_operator.decide import decide
from sea_operator.policies.refused_pods import needed_by_job
from sea_operator.status import compute

OWNERS: Any = {
    "an earlier job": lambda owner: [{**owner, "uid": "uid-of-before"}],
    "a stranger": lambda _: [],
}


def owned_by(children: Any, whose: str) -> Any:
    """The StatefulSets as somebody else's, eight pods each."""
    found = copy.deepcopy(children)
    for (kind, _), live in found.items():
        if kind == "StatefulSet":
            owners = live["metadata"]["ownerReferences"]
            live["metadata"]["ownerReferences"] = OWNERS[whose](owners[0])
            live["spec"]["replicas"] = 8
    return found


@pytest.mark.parametrize("whose", OWNERS)
def test_they_have_no_size_of_this_job(make: Any, whose: str) -> None:
    """The first attempt was the second: it had another size than those of the other's pods."""
    job = make.job()
    children = owned_by(make.children(job), whose)
    observed = make.observed(job, children=children, pods=(), state=None)
    assert [observed.replicas(role) for role in Role] == [None] * 4
    assert [observed.stateful_set(role) for role in Role] == [None] * 4
    plan = decide(observed, make.context())
    status = compute(observed, plan, (), make.now)
    assert status.trainer_attempt == 1
    assert status.roles is not None
    assert status.roles.trainer is not None
    assert status.roles.trainer.desired == (0 if whose == "a stranger" else 2)


def test_an_earlier_jobs_gpus_don_t_make_this_ones_start_before_the_check(make: Any) -> None:
    spec = make.spec(trainer={"gpusPerPod": 8}, rollout={"gpusPerPod": 8})
    job = make.job(spec=spec)
    children = owned_by(make.children(job), "an earlier job")
    observed = make.observed(job, children=children, pods=(), state=None)
    sizes = decide(observed, make.context()).lifecycle.replicas
    assert (sizes[Role.TRAINER], sizes[Role.ROLLOUT], sizes[Role.USER]) == (0, 0, 1)


@pytest.mark.parametrize("whose", OWNERS)
def test_they_say_nothing_of_updates_and_quotas(make: Any, whose: str) -> None:
    job = make.job(status=make.status())
    children = make.children(job)
    for (kind, _), live in children.items():
        if kind == "StatefulSet":
            live["metadata"]["annotations"] = {MADE_BY_ANNOTATION: "old.x"}
    least = dict.fromkeys(Role, 1)
    assert needed_by_job(make.observed(job, children=children), least, "pods") == 4
    children["StatefulSet", "j-rollout"] = owned_by(children, whose)["StatefulSet", "j-rollout"]
    observed = make.observed(job, children=children)
    plan = decide(observed, make.context())
    assert "rollout" not in (plan.update_waits or "")
    assert needed_by_job(observed, least, "pods") == 3
