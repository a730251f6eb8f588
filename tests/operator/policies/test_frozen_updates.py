"""Edits and updates of roles whose pods can't be replaced now, over several passes."""

import copy
import dataclasses
from typing import Any

import pytest

from sea_api.contract import PARALLELISM_ANNOTATION
from sea_api.v1alpha1.status import Roles, RoleStatus
from sea_operator.decide import decide
from sea_operator.observed import Blocker, SecretSeen
from sea_operator.settings import Images
from sea_operator.status import compute

NEWER = Images(trainer="trainer:2")


class FrozenCase:
    """A job of an older revision whose Secret is missing, followed over several passes."""

    def __init__(self, make: Any) -> None:
        self.make = make
        self.job = make.job(status=make.status())
        self.children = make.children(self.job)
        self.pods = make.pods(self.job)
        self.images = NEWER

    def observed(self, **fields: Any) -> Any:
        known = {"children": self.children, "pods": self.pods, **fields}
        return dataclasses.replace(self.make.observed(self.job, **known), job=self.job)

    def a_pass(self, **fields: Any) -> Any:
        """The plan, which is carried out."""
        observed = self.observed(**fields)
        plan = decide(observed, self.make.context(images=self.images))
        status = compute(observed, plan, (), self.make.now)
        self.job = dataclasses.replace(self.job, status=status)
        for child in plan.applies:
            named = (child["kind"], child["metadata"]["name"])
            uid = self.children.get(named, child)["metadata"].get("uid", "u")
            meta = {**child["metadata"], "uid": uid}
            self.children = {**self.children, named: {**copy.deepcopy(child), "metadata": meta}}
        return plan

    def edit(self, **patch: Any) -> None:
        generation = self.job.generation + 1
        self.job = dataclasses.replace(
            self.job, spec=self.make.spec(**patch), generation=generation
        )

    def variables(self) -> Any:
        (box,) = self.children["StatefulSet", "j-trainer"]["spec"]["template"]["spec"]["containers"]
        return {one["name"]: one.get("value") for one in box["env"]}


def images(live: Any) -> set[str]:
    return {one["image"] for one in live["spec"]["template"]["spec"]["containers"]}


OLD_ENGINE = {Images().rollout}
VARIABLE: Any = {"trainer": {"template": {"env": [{"name": "X", "value": "1"}]}}}


@pytest.mark.parametrize("before", ["pass", "edit"])
def test_an_edit_of_a_frozen_role_takes_effect_under_a_newer_operator(
    make: Any, before: str
) -> None:
    """It waited for the next attempt. `before`: what the newer operator meets first."""
    case = FrozenCase(make)
    if before == "pass":
        assert case.a_pass(secrets={}).update_waits
    case.edit(**VARIABLE)
    for _ in range(3):
        plan = case.a_pass(secrets={})
        assert (plan.removals, "X" in case.variables()) == ((), False)
        assert plan.update_waits == "", "an edit doesn't wait for an attempt"
    assert "edits of these pods wait" in plan.lifecycle.note
    assert case.a_pass(secrets={}).applies == (), "the record is written once"
    case.a_pass()
    assert case.variables()["X"] == "1"


def test_an_update_of_a_frozen_role_waits_for_the_next_attempt(make: Any) -> None:
    case = FrozenCase(make)
    missing: Any = {"secrets": {}}
    there: Any = {}
    for fields in (missing, missing, there):
        plan = case.a_pass(**fields)
        assert plan.update_waits
        assert plan.removals == ()
    assert case.a_pass().applies == ()


JUDGED: Any = {"verifier": {"judge": {"url": "http://x", "model": "m", "apiKeySecret": "openai"}}}


@pytest.mark.parametrize("warm", [True, False])
def test_a_new_attempt_makes_no_job_of_two_builds(make: Any, warm: bool) -> None:
    """Trainer and coordinator took the update, and the engines, whose key is missing, couldn't."""
    case = FrozenCase(make)
    case.images = Images(trainer="trainer:2", rollout="rollout:2")
    spec = make.spec(**JUDGED, rollout={"warm": warm})
    case.job = make.job(spec=spec, status=make.status())
    case.children, case.pods = make.children(case.job), make.pods(case.job)
    if not warm:
        case.children["StatefulSet", "j-rollout"]["spec"]["replicas"] = 0
    case.a_pass()
    plan = case.a_pass(state=make.state(trainer_failure=make.failure()))
    assert plan.lifecycle.attempt == 2
    updated = images(case.children["StatefulSet", "j-trainer"]) == {"trainer:2"}
    assert (updated, bool(plan.update_waits)) == (not warm, True)
    assert images(case.children["StatefulSet", "j-rollout"]) == OLD_ENGINE
    key = {**case.observed().secrets, "openai": SecretSeen(frozenset({"OPENAI_API_KEY"}), "key")}
    again = make.failure(attempt=2)
    state = make.state(attempt=2, trainer_failure=again)
    assert case.a_pass(secrets=key, state=state).lifecycle.attempt == 3
    assert images(case.children["StatefulSet", "j-trainer"]) == {"trainer:2"}
    assert images(case.children["StatefulSet", "j-rollout"]) == {"rollout:2"}


def test_an_edit_that_is_taken_back_while_it_waits_changes_nothing(make: Any) -> None:
    case = FrozenCase(make)
    case.images = Images()
    case.edit(**VARIABLE)
    case.a_pass(secrets={})
    case.edit()
    case.a_pass(secrets={})
    plan = case.a_pass()
    assert (plan.applies, plan.removals, plan.update_waits) == ((), (), "")


@pytest.mark.parametrize("before", ["pass", "edit"])
def test_an_edit_of_the_layout_under_a_newer_operator_follows_its_check(
    make: Any, before: str
) -> None:
    """The coordinator had the new layout, and the pods kept theirs until the next attempt."""
    case = FrozenCase(make)
    sizes = Roles(trainer=RoleStatus(desired=2, ready=2))
    case.job = dataclasses.replace(case.job, status=make.status(roles=sizes))
    if before == "pass":
        case.a_pass()
    case.edit(trainer={"parallelism": {"tensor": 2}})
    for _ in range(2):
        plan = case.a_pass(state=make.state(prepared=False, spec_digest="older"))
        assert plan.lifecycle.keeps_layout
    digest = plan.coordinator_spec.digest
    case.a_pass(state=make.state(prepared=True, spec_digest=digest))
    live = case.children["StatefulSet", "j-trainer"]["spec"]["template"]
    assert '"tensor":2' in live["metadata"]["annotations"][PARALLELISM_ANNOTATION]


def test_a_token_that_can_not_be_read_changes_no_template_and_forgets_no_edit(make: Any) -> None:
    unread = (Blocker("SecretUnreadable", "Secret n/j-auth can't be read."),)
    gone: Any = {"token": None, "token_unread": True, "unread": unread, "state": None}
    case = FrozenCase(make)
    case.a_pass(**gone)
    case.edit(**VARIABLE)
    for _ in range(2):
        plan = case.a_pass(**gone)
        assert (plan.removals, "X" in case.variables()) == ((), False)
    case.a_pass()
    assert case.variables()["X"] == "1"
