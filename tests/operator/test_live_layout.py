"""The coordinator and the pods of a job agree on one layout, also while no pod can be replaced."""

import dataclasses
import json
from typing import Any

import pytest

from sea_api.contract import PARALLELISM_ANNOTATION
from sea_api.v1alpha1.policy import Role
from sea_api.v1alpha1.status import Roles, RoleStatus
from sea_operator.decide import decide
from sea_operator.live_layout import followed, is_another
from sea_operator.status import compute

TRAINER = frozenset({Role.TRAINER})
EDITS: Any = [
    {"replicas": 4},
    {"parallelism": {"tensor": 2}},
    {"gpusPerPod": 2},
    {"replicas": 4, "parallelism": {"tensor": 4}},
    {"replicas": 1, "parallelism": {"context": 1}, "gpusPerPod": 2},
]


class Case:
    """A job with two trainer pods, which runs, and whose spec is edited then."""

    def __init__(self, make: Any, edit: Any) -> None:
        self.make = make
        sizes = Roles(trainer=RoleStatus(desired=2, ready=2))
        self.before = make.job(status=make.status(roles=sizes))
        self.edited = make.job(spec=make.spec(**edit), status=self.before.status, generation=2)

    def observed(self, **fields: Any) -> Any:
        live = self.make.children(self.before)
        known = {"children": live, "pods": self.make.pods(self.before)}
        return self.make.observed(self.edited, **{**known, **fields})

    def decide(self, **fields: Any) -> Any:
        return decide(self.observed(**fields), self.make.context())


def layout(spec: Any) -> Any:
    trainer = spec.trainer
    return trainer.replicas, trainer.parallelism, trainer.gpus_per_pod


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("checked", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_a_trainer_whose_secret_is_missing_keeps_the_layout_that_its_pods_have(
    make: Any, edit: Any, checked: bool, fails: bool
) -> None:
    """The next attempt would wait for pods that can't be made, or begin in others than it needs."""
    case = Case(make, {"trainer": edit})
    failure = make.failure() if fails else None
    state = make.state(prepared=checked, trainer_failure=failure)
    plan = case.decide(secrets={}, state=state)
    assert layout(plan.coordinator_spec.spec) == layout(case.before.spec)
    assert plan.lifecycle.replicas[Role.TRAINER] == 2
    assert plan.lifecycle.attempt == (2 if fails else 1)
    assert "j-trainer" not in {one["metadata"]["name"] for one in plan.applies}
    assert not [one for one in plan.removals if "trainer" in one.name]
    assert plan.coordinator_spec.spec_generation == 2, "all else of the edit holds"


@pytest.mark.parametrize("edit", EDITS)
def test_the_edit_takes_effect_once_the_secret_is_there(make: Any, edit: Any) -> None:
    case = Case(make, {"trainer": edit})
    state = make.state(trainer_failure=make.failure())
    plan = case.decide(state=state)
    assert layout(plan.coordinator_spec.spec) == layout(case.edited.spec)
    assert plan.lifecycle.replicas[Role.TRAINER] == edit.get("replicas", 2)


def test_what_waits_is_said(make: Any) -> None:
    case = Case(make, {"trainer": {"parallelism": {"tensor": 2}}})
    observed = case.observed(secrets={})
    status = compute(observed, decide(observed, make.context()), (), make.now)
    ready = next(one for one in status.conditions if one.type == "Ready")
    assert "trainer" in ready.message
    assert "edits of these pods wait" in ready.message


def test_fewer_pods_of_the_same_layout_need_none_that_is_new(make: Any) -> None:
    plan = Case(make, {"trainer": {"replicas": 1}}).decide(secrets={})
    assert plan.coordinator_spec.spec.trainer.replicas == 1
    assert (plan.lifecycle.replicas[Role.TRAINER], plan.lifecycle.attempt) == (1, 2)


@pytest.mark.parametrize("role", ["rollout", "userModel"])
def test_engines_keep_theirs_too(make: Any, role: str) -> None:
    """An engine that starts again in its pod asks the coordinator for it."""
    case = Case(make, {role: {"parallelism": {"tensor": 2}}})
    told = case.decide(secrets={}).coordinator_spec.spec
    assert (told.rollout.parallelism, told.user_model.parallelism) == (
        case.before.spec.rollout.parallelism,
        case.before.spec.user_model.parallelism,
    )


def test_an_elastic_trainer_is_not_sent_a_size_that_it_can_not_have(make: Any) -> None:
    """The attempt that runs would end for it, and the next wait for pods."""
    elastic = {"elastic": {"minReplicas": 1, "maxReplicas": 8}}
    sizes = Roles(trainer=RoleStatus(desired=2, ready=2))
    job = make.job(spec=make.spec(trainer=elastic), status=make.status(roles=sizes))
    two = {**make.children(job)}
    first = decide(make.observed(job, children=two, pods=make.pods(job)), make.context())
    status = job.status.model_copy(update={"elastic": first.lifecycle.elastic.status})
    spec = make.spec(trainer={**elastic, "replicas": 6})
    edited = make.job(spec=spec, status=status, generation=2)
    seen = make.observed(edited, children=two, pods=make.pods(job), secrets={})
    plan = decide(seen, make.context())
    assert plan.coordinator_spec is not None
    assert plan.coordinator_spec.trainer_size == 2
    assert plan.lifecycle.replicas[Role.TRAINER] == 2
    there = decide(make.observed(edited, children=two, pods=make.pods(job)), make.context())
    assert there.coordinator_spec is not None
    assert there.coordinator_spec.trainer_size == 6


@pytest.mark.parametrize("noted", [None, "", "{", "[]", '{"tensor": "x"}'])
def test_a_layout_that_another_release_noted_otherwise_is_not_guessed(
    make: Any, noted: str | None
) -> None:
    case = Case(make, {"trainer": {"parallelism": {"tensor": 2}}})
    observed = case.observed()
    live = observed.children["StatefulSet", "j-trainer"]
    annotations = live["spec"]["template"]["metadata"]["annotations"]
    del annotations[PARALLELISM_ANNOTATION]
    if noted is not None:
        annotations[PARALLELISM_ANNOTATION] = noted
    assert followed(observed, case.edited.spec, TRAINER) is case.edited.spec


def test_gpus_of_a_container_that_a_patch_adds_are_no_layout(make: Any) -> None:
    """The coordinator was told them as those of the training processes."""
    case = Case(make, {})
    observed = case.observed()
    pod = observed.children["StatefulSet", "j-trainer"]["spec"]["template"]["spec"]
    pod["containers"].append({"name": "dcgm", "resources": {"limits": {"nvidia.com/gpu": "1"}}})
    assert followed(observed, case.edited.spec, TRAINER) is case.edited.spec
    assert not is_another(observed, case.edited.spec)


def test_a_field_that_an_older_release_did_not_note_is_no_other_layout(make: Any) -> None:
    """Each job that runs would be checked again, and get a new attempt, after an upgrade."""
    case = Case(make, {})
    observed = case.observed()
    live = observed.children["StatefulSet", "j-trainer"]
    annotations = live["spec"]["template"]["metadata"]["annotations"]
    noted = json.loads(annotations[PARALLELISM_ANNOTATION])
    assert noted.pop("context") == 1
    annotations[PARALLELISM_ANNOTATION] = json.dumps(noted)
    assert not is_another(observed, case.edited.spec)
    annotations[PARALLELISM_ANNOTATION] = json.dumps({**noted, "context": 2})
    assert is_another(observed, case.edited.spec)


def test_the_layout_of_somebody_elses_pods_is_not_followed(make: Any) -> None:
    case = Case(make, {"trainer": {"parallelism": {"tensor": 2}}})
    observed = case.observed()
    live = observed.children["StatefulSet", "j-trainer"]
    live["metadata"]["ownerReferences"] = []
    assert followed(observed, case.edited.spec, TRAINER) is case.edited.spec


def test_the_same_layouts_make_the_same_spec(make: Any) -> None:
    """What is made from a spec is cached by its identity."""
    case = Case(make, {"trainer": {"parallelism": {"tensor": 2}}})
    first = followed(case.observed(), case.edited.spec, TRAINER)
    again = dataclasses.replace(case.observed())
    assert followed(again, case.edited.spec, TRAINER) is first
    assert first is not case.edited.spec
    assert followed(again, case.edited.spec, frozenset()) is case.edited.spec
