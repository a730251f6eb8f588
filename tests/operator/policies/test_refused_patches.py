"""A pod patch that this operator refuses: a new job waits, an earlier release's job goes on."""

import copy
import dataclasses
from typing import Any

import pytest

from sea_api.contract import HASH_LABEL, MADE_BY_ANNOTATION
from sea_api.v1alpha1.policy import Role
from sea_operator.decide import decide
from sea_operator.policies.refused_patches import carries
from sea_operator.settings import Images, revision
from sea_operator.status import compute

PATCH: Any = {
    "template": {"patch": {"spec": {"containers": [{"name": "worker", "$patch": "delete"}]}}}
}
"""Without the worker no episode runs; only the merge finds that out."""


class Case:
    """A job that runs, whose engines have a patch that is refused now."""

    def __init__(self, make: Any, record: str, *, taken: bool = True, **status: Any) -> None:
        """`taken`: an earlier release made the pods with the patch."""
        self.make = make
        plain = make.job(status=make.status())
        self.children = make.children(plain)
        self.pods = make.pods(plain)
        live = self.children["StatefulSet", "j-rollout"]
        live["metadata"]["annotations"] = {MADE_BY_ANNOTATION: record.format(hash=hash_of(live))}
        if taken:
            pod = live["spec"]["template"]["spec"]
            pod["containers"] = [one for one in pod["containers"] if one["name"] != "worker"]
        self.spec = make.spec(rollout=PATCH)
        self.job = make.job(spec=self.spec, status=make.status(**status), generation=2)

    def plan(self, **fields: Any) -> Any:
        return decide(self.observed(**fields), self.make.context())

    def observed(self, **fields: Any) -> Any:
        known = {"children": self.children, "pods": self.pods}
        running = self.make.observed(**{**known, **fields})
        return dataclasses.replace(running, job=self.job)


def hash_of(live: Any) -> str:
    return str(live["spec"]["template"]["metadata"]["labels"][HASH_LABEL])


OURS = revision(Images()) + ".{hash}"
OTHERS = "another.{hash}"


def test_a_new_job_waits_for_a_correction(make: Any) -> None:
    job = make.job(spec=make.spec(rollout=PATCH))
    nothing = make.observed(make.job(), children={}, pods=(), state=None)
    plan = decide(dataclasses.replace(nothing, job=job), make.context())
    assert plan.lifecycle.blocker is not None
    assert plan.lifecycle.blocker.reason == "PodPatchRefused"
    assert "spec.rollout.template.patch.spec.containers[worker]" in plan.lifecycle.blocker.message
    assert plan.applies == ()


def test_an_edit_stalls_the_job_and_stops_nothing_else(make: Any) -> None:
    case = Case(make, OURS, taken=False)
    plan = case.plan(state=make.state("sft"))
    assert plan.lifecycle.blocker.reason == "PodPatchRefused"
    assert (plan.applies, plan.removals) == ((), ())
    assert (plan.send, plan.lifecycle.stage_index) == (True, 1)


@pytest.mark.parametrize("record", [OTHERS, ""])
@pytest.mark.parametrize("observed_generation", [1, 2])
def test_an_edit_of_a_job_from_before_an_upgrade_is_judged_by_todays_rules(
    make: Any, record: str, observed_generation: int
) -> None:
    """Also in the passes after the first, whose status has observed the edit."""
    case = Case(make, record, taken=False, observed_generation=observed_generation)
    plan = case.plan(state=make.state("sft"))
    assert plan.lifecycle.blocker is not None
    assert plan.lifecycle.blocker.reason == "PodPatchRefused"
    assert plan.lifecycle.inherited == ()
    assert "j-rollout" not in {one["metadata"]["name"] for one in plan.applies}


@pytest.mark.parametrize("record", [OTHERS, ""])
@pytest.mark.parametrize("observed_generation", [1, 2])
def test_a_patch_that_an_earlier_release_took_goes_on_with_a_warning(
    make: Any, record: str, observed_generation: int
) -> None:
    """Whatever else is edited: a queue that resumes the job, an autoscaler."""
    case = Case(make, record, observed_generation=observed_generation)
    state = make.state("sft")
    plan = case.plan(state=state)
    assert plan.lifecycle.blocker is None
    assert (plan.removals, plan.lifecycle.stage_index) == ((), 1)
    status = compute(case.observed(state=state), plan, (), make.now)
    conditions = {one.type: one for one in status.conditions}
    assert conditions["Stalled"].status == "False"
    warning = conditions["SpecWarning"]
    assert warning.reason == "OlderRules"
    assert "spec.rollout.template.patch.spec.containers[worker] can't be patched" in warning.message
    (applied,) = (one for one in plan.applies if one["kind"] == "StatefulSet")
    assert applied["metadata"]["name"] == "j-rollout"
    live = case.children["StatefulSet", "j-rollout"]
    assert applied["spec"] == live["spec"], "nothing but the record is new"


def after_upgrade(make: Any) -> Case:
    """The same job once this operator has left its record."""
    case = Case(make, OTHERS)
    (applied,) = (one for one in case.plan().applies if one["kind"] == "StatefulSet")
    live = case.children["StatefulSet", "j-rollout"]
    live["metadata"]["annotations"] = copy.deepcopy(applied["metadata"]["annotations"])
    return case


def test_its_record_is_written_once(make: Any) -> None:
    case = after_upgrade(make)
    plan = case.plan()
    assert (plan.applies, plan.lifecycle.blocker) == ((), None)
    assert plan.lifecycle.inherited != ()


def test_its_size_follows_the_spec_with_the_template_that_it_has(make: Any) -> None:
    case = after_upgrade(make)
    case.job = dataclasses.replace(
        case.job, spec=make.spec(rollout={**PATCH, "replicas": 3}), generation=3
    )
    (applied,) = case.plan().applies
    live = case.children["StatefulSet", "j-rollout"]
    assert applied["spec"] == {**live["spec"], "replicas": 3}


def test_it_survives_a_suspension_and_the_attempts_of_the_trainer(make: Any) -> None:
    case = after_upgrade(make)
    failed = case.plan(state=make.state(trainer_failure=make.failure()))
    assert (failed.lifecycle.attempt, failed.lifecycle.blocker) == (2, None)
    for live in case.children.values():
        if live["kind"] == "StatefulSet":
            live["spec"]["replicas"] = 0
    status = make.status(make.condition("Suspended", "True"))
    case.job = dataclasses.replace(case.job, status=status, generation=3)
    resumed = case.plan(pods=(), state=None)
    assert resumed.lifecycle.blocker is None
    assert resumed.lifecycle.replicas[Role.ROLLOUT] == 1
    applied = {one["metadata"]["name"]: one for one in resumed.applies}
    assert hash_of(applied["j-rollout"]) == hash_of(case.children["StatefulSet", "j-rollout"])


def test_another_refused_patch_in_its_place_is_an_edit(make: Any) -> None:
    case = after_upgrade(make)
    other = {"name": "engine", "$patch": "delete"}
    spec = make.spec(rollout={"template": {"patch": {"spec": {"containers": [other]}}}})
    case.job = dataclasses.replace(case.job, spec=spec, generation=3)
    plan = case.plan()
    assert plan.lifecycle.blocker.reason == "PodPatchRefused"
    assert plan.applies == ()


@pytest.mark.parametrize(
    "edit",
    [
        {"template": {**PATCH["template"], "image": "other:1"}},
        {"template": {**PATCH["template"], "env": [{"name": "A", "value": "b"}]}},
        {**PATCH, "gpusPerPod": 1},
    ],
)
def test_an_edit_that_the_patch_keeps_from_the_pods_says_so(make: Any, edit: Any) -> None:
    case = after_upgrade(make)
    case.job = dataclasses.replace(case.job, spec=make.spec(rollout=edit), generation=3)
    plan = case.plan()
    assert plan.lifecycle.blocker.reason == "PodPatchRefused"
    assert plan.lifecycle.inherited == ()


def of_engine(**fields: Any) -> Any:
    return {"spec": {"containers": [{"name": "engine", **fields}]}}


LIVE: Any = {
    "metadata": {"labels": {"team": "a", "ours": "b"}},
    "spec": {
        "containers": [
            {
                "name": "engine",
                "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                "envFrom": [{"secretRef": {"name": "theirs"}}, {"secretRef": {"name": "s3"}}],
                "resources": {"limits": {"cpu": "4", "memory": "1Gi"}},
            }
        ],
        "tolerations": [{"key": "k", "operator": "Exists"}],
        "nodeSelector": {"x": "y"},
    },
}


@pytest.mark.parametrize(
    ("patch", "carried"),
    [
        ({}, True),
        ({"metadata": {"labels": {"team": "a"}}}, True),
        ({"metadata": {"labels": {"team": "b"}}}, False),
        ({"spec": {"containers": [{"name": "worker", "$patch": "delete"}]}}, True),
        ({"spec": {"containers": [{"name": "engine", "$patch": "delete"}]}}, False),
        ({"spec": {"containers": [{"$patch": "replace"}, {"name": "engine"}]}}, True),
        ({"spec": {"containers": [{"$patch": "replace"}, {"name": "other"}]}}, False),
        ({"spec": {"containers": [{"name": "engine", "env": [{"name": "B"}]}]}}, True),
        ({"spec": {"containers": [{"name": "engine", "command": ["x"]}]}}, False),
        (
            {"spec": {"containers": [{"name": "engine", "env": [{"name": "A", "value": "2"}]}]}},
            False,
        ),
        ({"spec": {"tolerations": [{"key": "k", "operator": "Exists"}]}}, True),
        (of_engine(envFrom=[{"secretRef": {"name": "theirs"}}]), True),
        (of_engine(envFrom=[{"secretRef": {"name": "others"}}]), False),
        (of_engine(resources={"limits": {"cpu": 4, "memory": "1024Mi"}}), True),
        (of_engine(resources={"limits": {"cpu": 5}}), False),
        ({"spec": {"tolerations": []}}, False),
        ({"spec": {"nodeSelector": None}}, False),
        ({"spec": {"hostNetwork": False, "priorityClassName": None}}, True),
        ({"spec": {"nodeSelector": {"$patch": "replace", "x": "y"}}}, True),
        ({"spec": {"nodeSelector": {"$patch": "replace"}}}, False),
        ({"spec": {"nodeSelector": {"$patch": "delete"}}}, False),
        ({"spec": {"affinity": {"$patch": "delete"}}}, True),
    ],
)
def test_a_template_shows_the_patch_that_it_was_made_with(patch: Any, *, carried: bool) -> None:
    assert carries(LIVE, patch) is carried


def test_a_correction_takes_effect(make: Any) -> None:
    case = after_upgrade(make)
    labels = {"template": {"patch": {"metadata": {"labels": {"team": "a"}}}}}
    case.job = dataclasses.replace(case.job, spec=make.spec(rollout=labels), generation=3)
    plan = case.plan()
    assert plan.lifecycle.blocker is None
    applied = {one["metadata"]["name"]: one for one in plan.applies if "template" in one["spec"]}
    assert applied["j-rollout"]["spec"]["template"]["metadata"]["labels"]["team"] == "a"
