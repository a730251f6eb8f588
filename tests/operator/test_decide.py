"""Whole decisions: what a pass would do about one world or another."""

import dataclasses
from typing import Any

import pytest

from sea_api.contract import S3_ACCESS_KEY, S3_SECRET_KEY
from sea_api.v1alpha1.policy import Role
from sea_api.v1alpha1.status import Restarts, Roles, RoleStatus
from sea_operator import decide as decisions
from sea_operator.coordinator_spec import coordinator_spec
from sea_operator.observed import Blocker, SecretSeen
from sea_operator.plan import Outcome, Suspension
from sea_operator.pods import Termination
from sea_operator.policies.phase import retry_digest
from sea_operator.status import compute

S3 = frozenset({S3_ACCESS_KEY, S3_SECRET_KEY})
ALL_SECRETS = {"s3": SecretSeen(S3, "old")}
FLAWED = {"s3": SecretSeen(S3, "new", {S3_SECRET_KEY: "ends with a line break"})}
OPENAI = {"openai": SecretSeen(frozenset({"OPENAI_API_KEY"}), "1")}


def decide(observed: Any, context: Any) -> Any:
    """The plan, whose optional parts the tests know to be there."""
    return decisions.decide(observed, context)


def told(make: Any, observed: Any, **sent: Any) -> Any:
    """The same world whose coordinator already has the newest instructions."""
    plan = decide(observed, make.context())
    return dataclasses.replace(
        observed,
        state=observed.state.model_copy(update={"spec_digest": plan.coordinator_spec.digest}),
    )


def test_a_settled_world_needs_no_write(make: Any) -> None:
    plan = decide(told(make, make.observed()), make.context())
    assert (plan.secret, plan.applies, plan.removals, plan.send) == (None, (), (), False)
    assert plan.requeue == 1.0


def test_a_new_job_gets_a_token_services_before_sets_and_no_message(make: Any) -> None:
    job = make.job()
    plan = decide(make.observed(job, children={}, pods=(), token=None, state=None), make.context())
    assert plan.secret["metadata"]["name"] == "j-auth"
    assert [child["kind"] for child in plan.applies] == [
        *["Service"] * 4,
        *["StatefulSet"] * 4,
        "PodDisruptionBudget",
    ]
    assert not plan.send
    assert plan.lifecycle.attempt == 1


def test_a_deleted_child_comes_back_alone(make: Any) -> None:
    observed = make.observed()
    children = {key: live for key, live in observed.children.items() if key[1] != "j-rollout"}
    plan = decide(dataclasses.replace(observed, children=children), make.context())
    assert [child["metadata"]["name"] for child in plan.applies] == ["j-rollout", "j-rollout"]


def test_a_complete_stage_moves_the_spec_to_the_next(make: Any) -> None:
    plan = decide(make.observed(state=make.state("sft")), make.context())
    assert (plan.coordinator_spec.stage_index, plan.send) == (1, True)
    assert plan.requeue < 1


def test_a_complete_job_keeps_its_pods_until_the_status_says_so(make: Any) -> None:
    state = make.state("sft", "rl", "eval")
    plan = decide(make.observed(state=state), make.context())
    assert plan.lifecycle.outcome is Outcome.COMPLETE
    assert plan.lifecycle.replicas[Role.TRAINER] == 2
    stored = make.status(make.condition("Complete", "True"), stage="eval")
    plan = decide(make.observed(make.job(status=stored), state=state), make.context())
    assert set(plan.lifecycle.replicas.values()) == {0}
    assert not plan.send


def test_a_failed_attempt_is_left_behind_and_counted_once(make: Any) -> None:
    observed = make.observed(state=make.state(trainer_failure=make.failure()))
    plan = decide(observed, make.context())
    assert plan.lifecycle.attempt == 2
    assert plan.lifecycle.restarts == Restarts(counted=1, recent=[int(make.now)])
    assert (plan.coordinator_spec.attempt, plan.send) == (2, True)
    after = make.job(status=make.status(trainer_attempt=2, restarts=plan.lifecycle.restarts))
    again = decide(dataclasses.replace(observed, job=after), make.context())
    assert again.lifecycle.attempt == 2
    assert again.lifecycle.restarts == plan.lifecycle.restarts
    assert again.send, "the spec is sent until the coordinator has it"


def test_the_coordinators_attempt_is_never_undercut(make: Any) -> None:
    plan = decide(make.observed(state=make.state(attempt=7)), make.context())
    assert plan.lifecycle.attempt == 7


def test_suspend_drains_first_and_resume_begins_a_new_attempt(make: Any) -> None:
    job = make.job(spec=make.spec(suspend=True), status=make.status(), generation=2)
    plan = decide(make.observed(job), make.context())
    assert plan.lifecycle.suspension is Suspension.DRAINING
    assert plan.coordinator_spec.drain
    assert plan.lifecycle.replicas[Role.TRAINER] == 2
    released = make.status(make.condition("Suspended", "True"))
    zero = dict.fromkeys(make.children(make.job()), 0)
    assert zero
    resumed = make.job(status=released, generation=3)
    plan = decide(make.observed(resumed, state=None), make.context())
    assert plan.lifecycle.suspension is Suspension.NONE
    assert plan.lifecycle.attempt == 2
    assert plan.lifecycle.replicas[Role.TRAINER] == 2


def test_a_job_that_runs_nothing_waits_for_its_secrets(make: Any) -> None:
    job = make.job()
    plan = decide(make.observed(job, children={}, pods=(), secrets={}, state=None), make.context())
    assert plan.lifecycle.blocker.reason == "SecretNotFound"
    assert (plan.applies, plan.removals, plan.send) == ((), (), False)
    assert plan.requeue == make.context().intervals.stalled


JUDGED = {"verifier": {"judge": {"url": "http://x", "model": "m", "apiKeySecret": "openai"}}}


def lacking(make: Any, what: str) -> Any:
    """What a job that runs may lack, as part of its observation; the reason; the roles frozen."""
    every = set(Role)
    unread = (Blocker("SecretUnreadable", "Secret n/j-auth can't be read."),)
    return {
        "secret": ({"secrets": {}}, "SecretNotFound", every),
        "flawed": ({"secrets": FLAWED}, "SecretUnusable", every),
        "judge": ({}, "SecretNotFound", {Role.ROLLOUT}),
        "token": ({"token": None, "broken_secret": True, "state": None}, "TokenMissing", every),
        "stranger": ({"token": None, "foreign_secret": True, "state": None}, "NameTaken", every),
        "unread": (
            {"token": None, "token_unread": True, "unread": unread, "state": None},
            "SecretUnreadable",
            every,
        ),
        "service": ({"taken": ("Service", "j-rollout")}, "NameTaken", {Role.ROLLOUT}),
    }[what]


def world_that_lacks(make: Any, what: str, job: Any, **more: Any) -> Any:
    fields, reason, roles = lacking(make, what)
    fields = {**fields, **more}
    taken = fields.pop("taken", None)
    observed = make.observed(job, **fields)
    if taken:
        stranger = {"kind": taken[0], "metadata": {"name": taken[1], "uid": "x"}, "spec": {}}
        children = {**observed.children, taken: stranger}
        observed = dataclasses.replace(observed, children=children)
    return observed, reason, roles


LACKS = ["secret", "flawed", "judge", "token", "stranger", "unread", "service"]


@pytest.mark.parametrize("what", LACKS)
def test_what_a_running_job_lacks_holds_only_pods_that_need_it(make: Any, what: str) -> None:
    """Everything stood still: stages, the coordinator, failures, an end with all GPUs."""
    job = make.job(spec=make.spec(**JUDGED), status=make.status())
    more = {} if what in ("token", "stranger", "unread") else {"state": make.state("sft")}
    observed, reason, roles = world_that_lacks(make, what, job, **more)
    plan = decide(observed, make.context())
    assert (plan.lifecycle.blocker.reason, plan.secret) == (reason, None)
    assert {role for role in plan.lifecycle.replicas if role in plan.lifecycle.frozen} == roles
    assert plan.removals == ()
    assert plan.send is ("state" in more)
    assert plan.lifecycle.stage_index == (1 if "state" in more else 0)
    if what == "service":
        applied = {(one["kind"], one["metadata"]["name"]) for one in plan.applies}
        assert ("Service", "j-rollout") not in applied, "it is the stranger's"
    status = compute(observed, plan, (), make.now)
    conditions = {one.type: one for one in status.conditions}
    assert (conditions["Stalled"].status, conditions["Stalled"].reason) == ("True", reason)
    assert "The job goes on with the pods that it has" in conditions["Ready"].message
    if "state" in more:
        assert status.stage == "rl"


@pytest.mark.parametrize("what", LACKS)
def test_a_running_job_that_lacks_something_gets_no_pod_and_loses_none(
    make: Any, what: str
) -> None:
    """An edit that replaces pods, more of them, a rule that replaces one: all wait."""
    before = make.job(spec=make.spec(**JUDGED), status=make.status())
    new = {"template": {"env": [{"name": "X", "value": "1"}]}}
    spec = make.spec(
        **JUDGED,
        rollout={"replicas": 3, **new},
        failurePolicy={
            "rules": [{"role": "Rollout", "cause": "ProcessExit", "action": "RestartPod"}]
        },
    )
    job = make.job(spec=spec, status=make.status(), generation=2)
    pods = tuple(
        dataclasses.replace(pod, terminations=(Termination("engine", 1, "Error"),))
        if pod.role is Role.ROLLOUT
        else pod
        for pod in make.pods(before)
    )
    observed, _, _ = world_that_lacks(make, what, job, children=make.children(before), pods=pods)
    plan = decide(observed, make.context())
    assert plan.lifecycle.replicas[Role.ROLLOUT] == 1
    assert [one.name for one in plan.removals] == []
    assert "j-rollout" not in {one["metadata"]["name"] for one in plan.applies}
    assert plan.lifecycle.restarts == Restarts(), "what can't be done isn't counted in each pass"
    all_there = decide(
        make.observed(
            job, children=make.children(before), pods=pods, secrets={**ALL_SECRETS, **OPENAI}
        ),
        make.context(),
    )
    assert all_there.lifecycle.replicas[Role.ROLLOUT] == 3
    assert [one.name for one in all_there.removals] == ["j-rollout-0"]
    assert all_there.lifecycle.restarts.counted == 1


def test_a_trainer_that_fails_while_a_secret_is_missing_restarts_in_its_pods(make: Any) -> None:
    rules = [{"role": "Trainer", "cause": "ProcessExit", "action": "RestartRole"}]
    job = make.job(spec=make.spec(failurePolicy={"rules": rules}), status=make.status())
    state = make.state(trainer_failure=make.failure())
    plan = decide(make.observed(job, secrets={}, state=state), make.context())
    assert (plan.lifecycle.attempt, plan.removals, plan.renewals) == (2, (), ())
    assert plan.lifecycle.restarts.counted == 1
    assert plan.coordinator_spec.attempt == 2


def test_a_job_whose_last_stage_ends_while_a_secret_is_missing_gives_its_gpus_back(
    make: Any,
) -> None:
    job = make.job(status=make.status(stage="eval"))
    state = make.state("sft", "rl", "eval")
    observed = make.observed(job, secrets={}, state=state)
    plan = decide(observed, make.context())
    status = compute(observed, plan, (), make.now)
    assert {one.type for one in status.conditions if one.status == "True"} >= {"Complete", "Ready"}
    after = decide(make.observed(make.job(status=status), secrets={}, state=state), make.context())
    assert set(after.lifecycle.replicas.values()) == {0}
    assert {one["spec"].get("replicas", 0) for one in after.applies} == {0}


def test_a_suspended_job_resumes_once_its_secret_is_there(make: Any) -> None:
    released = make.status(make.condition("Suspended", "True"))
    job = make.job(status=released, generation=2)
    children = make.children(make.job(), dict.fromkeys(Role, 0))
    lacks = make.observed(job, children=children, pods=(), secrets={}, state=None)
    plan = decide(lacks, make.context())
    assert (plan.applies, plan.lifecycle.blocker.reason) == ((), "SecretNotFound")
    assert plan.lifecycle.suspension is Suspension.RELEASED
    there = decide(dataclasses.replace(lacks, secrets=ALL_SECRETS), make.context())
    assert there.lifecycle.attempt == 2
    assert there.lifecycle.replicas[Role.TRAINER] == 2


def test_a_pod_that_cannot_be_deleted_counts_as_one_restart(make: Any) -> None:
    """A refused deletion made a budget of ten restarts end within ten seconds."""
    rules = [{"role": "Rollout", "cause": "ProcessExit", "action": "RestartPod"}]
    job = make.job(spec=make.spec(failurePolicy={"rules": rules}), status=make.status())
    pods = tuple(
        dataclasses.replace(pod, terminations=(Termination("engine", 1, "Error"),))
        if pod.role is Role.ROLLOUT
        else pod
        for pod in make.pods(job)
    )
    first = decide(make.observed(job, pods=pods), make.context())
    assert (first.lifecycle.restarts.counted, len(first.removals)) == (1, 1)
    (gone,) = first.removals
    refused = make.observed(job, pods=pods, undeleted=frozenset({gone.uid}))
    again = decide(refused, make.context())
    assert again.lifecycle.restarts == Restarts()
    assert again.removals == first.removals, "it is tried again"


@pytest.mark.parametrize(
    ("attempt", "ranks", "goes"),
    [
        pytest.param(1, ["j-trainer-0", "j-trainer-1"], True, id="of the attempt before"),
        pytest.param(2, [], True, id="nothing has begun yet"),
        pytest.param(2, ["j-trainer-1"], True, id="without a rank"),
        pytest.param(2, ["j-trainer-0", "j-trainer-1"], False, id="holds a rank"),
    ],
)
def test_a_refused_deletion_does_not_hit_the_next_attempt(
    make: Any, attempt: int, ranks: list[str], goes: bool
) -> None:
    """It was carried out as soon as it was allowed, and ended an attempt that worked."""
    job = make.job(status=make.status(trainer_attempt=2))
    state = make.state(attempt=attempt, rank_pods=ranks, prepared=True)
    observed = make.observed(job, state=state, undeleted=frozenset({"uid-j-trainer-0"}))
    plan = decide(observed, make.context())
    assert [one.name for one in plan.removals] == (["j-trainer-0"] if goes else [])


def test_a_refused_deletion_of_an_engine_is_not_made_up_for_once_nothing_asks_for_it(
    make: Any,
) -> None:
    """Its Secret has its old value again, for example."""
    observed = make.observed(undeleted=frozenset({"uid-j-rollout-0", "uid-j-coordinator-0"}))
    assert decide(observed, make.context()).removals == ()


@pytest.mark.parametrize("now", ["suspended", "complete", "failed"])
def test_a_missing_secret_keeps_no_pod_of_a_job_that_needs_none(make: Any, now: str) -> None:
    """It held GPUs until somebody made the Secret again."""
    kind = {"suspended": "Suspended", "complete": "Complete", "failed": "Failed"}[now]
    told = make.condition(kind, "Unknown" if now == "suspended" else "True", reason="Releasing")
    job = make.job(
        spec=make.spec(suspend=now == "suspended"), status=make.status(told, stage="eval")
    )
    plan = decide(make.observed(job, secrets={}), make.context())
    assert set(plan.lifecycle.replicas.values()) == {0}
    assert {one["spec"].get("replicas", 0) for one in plan.applies} == {0}
    status = compute(make.observed(job, secrets={}), plan, (), make.now)
    stalled = next(one for one in status.conditions if one.type == "Stalled")
    assert (stalled.reason == "SecretNotFound") is (now == "suspended")


def test_a_role_that_the_spec_dropped_is_removed_with_its_uid(make: Any) -> None:
    before = make.job(status=make.status())
    job = make.job(spec=make.spec(userModel={"engine": "Scripted"}), status=make.status())
    plan = decide(make.observed(job, children=make.children(before)), make.context())
    assert {(removal.kind.name, removal.name, removal.uid) for removal in plan.removals} == {
        ("StatefulSet", "j-user", "uid-StatefulSet-j-user"),
        ("Service", "j-user", "uid-Service-j-user"),
    }


def test_an_edit_of_the_data_is_sent_and_restarts_nothing(make: Any) -> None:
    old = make.observed()
    spec = make.spec(data={"sft": ["s3://bucket/other.jsonl"]})
    job = make.job(spec=spec, status=make.status(), generation=2)
    plan = decide(dataclasses.replace(told(make, old), job=job), make.context())
    assert (plan.applies, plan.removals, plan.send) == ((), (), True)


def test_the_digest_covers_every_field_but_itself(make: Any) -> None:
    job = make.job()
    one = coordinator_spec(job, job.spec, stage_index=0, attempt=1, drain=False)
    other = coordinator_spec(job, job.spec, stage_index=0, attempt=1, drain=True)
    assert one.digest != other.digest
    assert one.run_url == "s3://bucket/prefix/j-0a1b2c3d"


def with_lost(make: Any, *names: Any, status: Any = None) -> Any:
    """The world in which these pods are on a node that is gone."""
    observed = make.observed(make.job(status=status or make.status()))
    pods = tuple(
        dataclasses.replace(pod, deleted=make.now - 100, node="gone", ready=False)
        if pod.name in names
        else pod
        for pod in observed.pods
    )
    return dataclasses.replace(observed, pods=pods, dead_nodes=frozenset({"gone"}))


def test_pods_of_dead_nodes_go_by_force_behind_a_new_attempt(make: Any) -> None:
    plan = decide(with_lost(make, "j-trainer-1"), make.context())
    assert plan.lifecycle.attempt == 2
    assert [(r.name, r.grace_seconds) for r in plan.fenced_removals] == [("j-trainer-1", 0)]


def test_a_pod_that_force_does_not_remove_begins_one_attempt_only(make: Any) -> None:
    """A finalizer or a failing deletion keeps it; a second lost pod is a reason of its own."""
    world = with_lost(make, "j-trainer-1")
    status = compute(world, decide(world, make.context()), (), make.now)
    assert (status.trainer_attempt, status.fenced) == (2, ["uid-j-trainer-1"])
    again = decide(with_lost(make, "j-trainer-1", status=status), make.context())
    assert again.lifecycle.attempt == 2
    assert [removal.name for removal in again.fenced_removals] == ["j-trainer-1"]
    both = decide(with_lost(make, "j-trainer-0", "j-trainer-1", status=status), make.context())
    assert both.lifecycle.attempt == 3
    after = make.observed(make.job(status=status))
    assert compute(after, decide(after, make.context()), (), make.now).fenced is None


def test_a_failed_job_begins_again_when_its_spec_is_edited(make: Any) -> None:
    failed = make.condition("Failed", "True", observed_generation=1)
    known = {"trainer_attempt": 4, "failed_spec": retry_digest(make.spec())}
    status = make.status(failed, restarts=make.restarts(*[make.now] * 10), **known)
    still = decide(make.observed(make.job(status=status)), make.context())
    assert still.lifecycle.outcome is Outcome.FAILED
    assert set(still.lifecycle.replicas.values()) == {0}
    job = make.job(spec=make.spec(trainer={"replicas": 4}), status=status, generation=2)
    edited = decide(make.observed(job), make.context())
    assert edited.lifecycle.outcome is Outcome.RUNNING
    assert edited.lifecycle.attempt == 5
    assert edited.lifecycle.restarts.recent == []


def test_stages_appended_to_a_complete_job_run(make: Any) -> None:
    done = make.status(make.condition("Complete", "True"), stage="eval")
    more = make.spec(stages=[*make.raw_spec()["stages"], {"name": "rl-2", "type": "RL", "rl": {}}])
    plan = decide(make.observed(make.job(spec=more, status=done), state=None), make.context())
    assert plan.lifecycle.outcome is Outcome.RUNNING
    assert plan.lifecycle.stage_index == 3
    assert plan.lifecycle.replicas[Role.TRAINER] == 2


def test_another_size_of_the_trainer_begins_one_attempt(make: Any) -> None:
    """Pods that join a running one would wait for ever: its world is fixed."""
    before = make.observed()
    status = compute(before, decide(before, make.context()), (), make.now)
    more = make.spec(trainer={"replicas": 4, "gpusPerPod": 0})
    world = make.observed(make.job(spec=more, status=status, generation=2))
    plan = decide(world, make.context())
    assert plan.lifecycle.attempt == 2
    assert plan.lifecycle.restarts == Restarts()
    status = compute(world, plan, (), make.now)
    again = make.observed(make.job(spec=more, status=status, generation=2))
    assert decide(again, make.context()).lifecycle.attempt == 2


def test_a_drain_is_not_cut_off_by_another_size(make: Any) -> None:
    roles = Roles(trainer=RoleStatus(desired=2, ready=2))
    spec = make.spec(suspend=True, trainer={"replicas": 1, "gpusPerPod": 0})
    job = make.job(spec=spec, status=make.status(roles=roles), generation=2)
    observed = make.observed(job, children=make.children(make.job()))
    plan = decide(observed, make.context())
    assert plan.lifecycle.suspension is Suspension.DRAINING
    assert plan.lifecycle.attempt == 1


@pytest.mark.parametrize(("suspend", "replaced"), [(False, True), (True, False)])
def test_pods_with_an_older_template_finish_their_last_checkpoint(
    make: Any, suspend: bool, replaced: bool
) -> None:
    """A queue that evicts a job takes its node selectors back in the same edit."""
    status = make.status(make.condition("Suspended", "Unknown" if suspend else "False"))
    job = make.job(spec=make.spec(suspend=suspend), status=status)
    old = make.pods(job, template_hash="older")
    plan = decisions.decide(make.observed(job, pods=old), make.context())
    assert bool(plan.removals) is replaced
