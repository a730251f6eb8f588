"""Changed Secrets: who holds old values, when pods take the new ones, and what is said until."""

from typing import Any

import pytest

from sea_api.v1alpha1.policy import Role
from sea_api.wire.state import Problem, Severity
from sea_operator.decide import decide
from sea_operator.observed import SecretSeen
from sea_operator.plan import Plan
from sea_operator.policies.conditions import Situation, conditions
from sea_operator.policies.prerequisites import needed_secrets, unmet
from sea_operator.policies.secret_rotation import digests, outdated

S3 = frozenset({"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"})
OLD, NEW = {"s3": SecretSeen(S3, "old")}, {"s3": SecretSeen(S3, "new")}
ALL = {"j-coordinator-0", "j-trainer-0", "j-trainer-1", "j-rollout-0", "j-user-0"}
ENGINES = {"j-rollout-0", "j-user-0"}


def problem(severity: Severity) -> Problem:
    return Problem(reason="StoreFails", message="No.", severity=severity)


def renewed(plan: Plan) -> set[str]:
    return {removal.name for removal in plan.renewals}


def test_without_a_change_nothing_is_outdated(make: Any) -> None:
    plan = decide(make.observed(), make.context())
    assert (plan.applies, plan.removals, plan.renewals, plan.lifecycle.note) == ((), (), (), None)


def test_a_change_alone_restarts_nothing_and_is_said(make: Any) -> None:
    """The StatefulSets get the new digest, for pods that are made from now on."""
    plan = decide(make.observed(secrets=NEW), make.context())
    assert {child["kind"] for child in plan.applies} == {"StatefulSet"}
    assert (plan.removals, plan.renewals, plan.lifecycle.attempt) == ((), (), 1)
    assert plan.lifecycle.note == (
        "Pods of coordinator, trainer, rollout, userModel hold older values than n/s3: they take "
        "the new ones with the next attempt, or when the job is suspended and resumed."
    )
    ready, *_ = conditions(Situation(plan.lifecycle, {}), [], 1, make.now)
    assert ready.status == "True"
    assert ready.message.endswith(plan.lifecycle.note)


def test_a_digest_that_changed_does_not_change_the_templates_hash(make: Any) -> None:
    job = make.job(status=make.status())
    plan = decide(make.observed(job, secrets=NEW), make.context())
    label = "sea-operator.io/template-hash"
    templates = [child["spec"]["template"]["metadata"] for child in plan.applies]
    assert {meta["labels"][label] for meta in templates} == set(make.hashes(job).values())


@pytest.mark.parametrize(
    ("fields", "names", "attempt"),
    [
        ({}, set(), 1),
        ({"problem": problem(Severity.ERROR)}, ALL, 2),
        ({"problem": problem(Severity.WARNING)}, ENGINES, 1),
    ],
)
def test_a_job_that_cannot_go_on_takes_the_new_values_at_once(
    make: Any, fields: Any, names: set[str], attempt: int
) -> None:
    plan = decide(make.observed(secrets=NEW, state=make.state(**fields)), make.context())
    assert renewed(plan) == names
    assert plan.lifecycle.attempt == attempt
    assert plan.removals == ()


def test_a_new_attempt_takes_the_new_values_with_it(make: Any) -> None:
    state = make.state(trainer_failure=make.failure())
    plan = decide(make.observed(secrets=NEW, state=state), make.context())
    assert plan.lifecycle.attempt == 2
    assert renewed(plan) == ALL
    assert plan.send is False, "the coordinator that would take the spec is about to go"
    assert plan.lifecycle.note is None
    same = decide(make.observed(secrets=OLD, state=state), make.context())
    assert (same.lifecycle.attempt, same.renewals) == (2, ())


def test_a_suspended_job_has_nothing_to_renew(make: Any) -> None:
    status = make.status(make.condition("Suspended", "Unknown"))
    job = make.job(spec=make.spec(suspend=True), status=status)
    state = make.state(problem=problem(Severity.ERROR))
    plan = decide(make.observed(job, secrets=NEW, state=state), make.context())
    assert (plan.renewals, plan.lifecycle.note) == ((), None)


def test_pods_of_a_release_that_noted_no_digest_are_left_alone(make: Any) -> None:
    job = make.job(status=make.status())
    pods = make.pods(job, secrets_digest=None)
    plan = decide(make.observed(job, secrets=NEW, pods=pods), make.context())
    assert (plan.renewals, plan.lifecycle.note) == ((), None)


def test_a_secret_that_cannot_be_read_now_has_not_changed(make: Any) -> None:
    observed = make.observed(secrets={})
    wanted = digests(observed, observed.job.spec)
    assert wanted == make.digests(observed.job)
    assert outdated(observed, wanted) == ()


def test_each_role_is_concerned_by_its_own_secrets_alone(make: Any) -> None:
    """A judge's key is the rollout worker's, a synthesis key the coordinator's."""
    judge = {"url": "http://y", "model": "m", "apiKeySecret": "judge"}
    endpoint = {"url": "http://x", "model": "m", "apiKeySecret": "synth"}
    stage = {"name": "make", "type": "Synthesis", "synthesis": {"endpoint": endpoint}}
    stages = [stage, *make.raw_spec()["stages"]]
    spec = make.spec(verifier={"judge": judge}, stages=stages)
    key = frozenset({"OPENAI_API_KEY"})
    before = {**OLD, "judge": SecretSeen(key, "old"), "synth": SecretSeen(key, "old")}

    def changed(name: str) -> set[Role]:
        after = {**before, name: SecretSeen(before[name].keys, "new")}
        job = make.job(spec=spec)
        old, new = (digests(make.observed(job, secrets=one), spec) for one in (before, after))
        return {role for role in Role if old.get(role) != new.get(role)}

    assert changed("judge") == {Role.ROLLOUT}
    assert changed("synth") == {Role.COORDINATOR}
    assert changed("s3") == set(Role)


def test_no_secret_is_no_digest(make: Any) -> None:
    spec = make.spec(storage={"credentialsSecret": None})
    assert digests(make.observed(make.job(spec=spec)), spec) == {}


def test_variables_that_a_patch_takes_from_a_secret_are_followed(make: Any) -> None:
    env = [{"name": "K", "valueFrom": {"secretKeyRef": {"name": "wandb", "key": "k"}}}]
    init = [{"name": "i", "image": "x", "envFrom": [{"secretRef": {"name": "mirror"}}]}]
    patch = {"spec": {"containers": [{"name": "trainer", "env": env}], "initContainers": init}}
    spec = make.spec(trainer={"template": {"patch": patch}})
    assert needed_secrets(spec)["wandb"] == frozenset()
    job = make.job(spec=spec, status=make.status())
    before = {**OLD, "wandb": SecretSeen(frozenset(), "1"), "mirror": SecretSeen(frozenset(), "1")}
    for name in ("wandb", "mirror"):
        after = {**before, name: SecretSeen(frozenset(), "2")}
        old, new = (digests(make.observed(job, secrets=one), spec) for one in (before, after))
        assert {role for role in Role if old.get(role) != new.get(role)} == {Role.TRAINER}
    # Missing, which may be what `optional` means: no prerequisite, and no change.
    assert unmet(make.observed(job, secrets=OLD), spec) == ()
    assert decide(make.observed(job, secrets=OLD), make.context()).renewals == ()
