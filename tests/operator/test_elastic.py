"""An elastic trainer in whole decisions: sets, messages to the coordinator, status, Events."""

import dataclasses
from typing import Any

import pytest

from sea_api.contract import role_name
from sea_api.v1alpha1.elastic_status import ElasticRole, ElasticStatus
from sea_api.v1alpha1.policy import Role
from sea_api.v1alpha1.status import Roles, RoleStatus, Status
from sea_api.wire.state import RollbackCheck
from sea_operator import decide as decisions
from sea_operator.elasticity import forgetting
from sea_operator.policies import elastic
from sea_operator.report import between
from sea_operator.resources.role_settings import full_size
from sea_operator.status import compute
from sea_operator.timestamps import stamp

RANGE = {"minReplicas": 1, "maxReplicas": 2, "giveUpSeconds": 10, "stableSeconds": 5}
SPEC = {"trainer": {"replicas": 2, "elastic": RANGE}}
SINCE = "2027-01-15T08:00:00Z"


class Job:
    """An elastic job, pass after pass, each from the status that the one before has written."""

    def __init__(self, make: Any, **patch: Any) -> None:
        self.make, self.spec = make, make.spec(**SPEC, **patch)
        sizes = Roles(trainer=RoleStatus(desired=2, ready=2))
        self.status: Status = make.status(roles=sizes, stage="rl")
        self.events: list[str] = []
        self.now = make.now

    def after(self, seconds: float, *trainers: int, **state: Any) -> Any:
        """The plan of a pass in which these trainer pods run."""
        make, self.now = self.make, self.now + seconds
        job = make.job(spec=self.spec, status=self.status)
        pods = tuple(
            pod
            if pod.role is not Role.TRAINER or int(pod.name[-1]) in trainers
            else dataclasses.replace(pod, began=False, ready=False, node=None)
            for pod in make.pods(job)
        )
        seen = make.observed(job, pods=pods)
        known = make.state("sft", stages=("rl",), **{"attempt": self.attempt, **state})
        seen = dataclasses.replace(seen, state=known)
        plan = decisions.decide(seen, dataclasses.replace(make.context(), now=self.now))
        before, self.status = self.status, compute(seen, plan, (), self.now)
        self.events += [event.reason for event in between(before, self.status)]
        return plan

    @property
    def attempt(self) -> int:
        return self.status.trainer_attempt or 1

    @property
    def trainer(self) -> tuple[int, str]:
        """Size and state."""
        assert self.status.roles is not None
        assert self.status.roles.trainer is not None
        assert self.status.elastic is not None
        assert self.status.elastic.trainer is not None
        return self.status.roles.trainer.desired, self.status.elastic.trainer.state


def test_a_lost_node_costs_a_size_and_its_return_gives_it_back(make: Any) -> None:
    job = Job(make)
    assert job.after(0, 0, 1).coordinator_spec.trainer_size == 2
    assert job.trainer == (2, "Full")
    job.after(1, 0)
    assert (job.trainer, job.attempt) == ((2, "Short"), 1)
    plan = job.after(10, 0)
    assert (job.trainer, job.attempt) == ((1, "Reduced"), 2)
    sent = plan.coordinator_spec
    assert (sent.attempt, sent.trainer_size, sent.trainer_pods) == (2, 1, 2)
    assert plan.lifecycle.replicas[Role.TRAINER] == 2, "the other pod is still asked for"
    job.after(1, 0, 1)
    plan = job.after(5, 0, 1)
    assert (job.trainer, job.attempt) == ((1, "Growing"), 2)
    assert (plan.coordinator_spec.attempt, plan.coordinator_spec.trainer_size) == (2, 2)
    plan = job.after(1, 0, 1, resized_attempt=2)
    assert (job.trainer, job.attempt) == ((2, "Full"), 3)
    assert (plan.coordinator_spec.attempt, plan.coordinator_spec.trainer_size) == (3, 2)
    assert job.status.restarts is not None
    assert job.status.restarts.counted == 0
    smaller = ["Scaled", "RunsSmaller", "NewAttempt"]
    # The first `Scaled` is about the roles that the first status didn't have.
    assert job.events[1:] == [*smaller, "Growing", "Scaled", "RunsLarger", "NewAttempt"]


def test_a_failure_restarts_in_place_first(make: Any) -> None:
    job = Job(make)
    job.after(0, 0, 1)
    failed = make.failure(cause="NodeLoss", pod="j-trainer-1")
    plan = job.after(1, 0, trainer_failure=failed)
    assert (plan.coordinator_spec.attempt, plan.coordinator_spec.trainer_size) == (2, 2)
    plan = job.after(10, 0)
    assert (plan.coordinator_spec.attempt, plan.coordinator_spec.trainer_size) == (3, 1)


def test_a_rule_of_the_job_keeps_the_trainer_waiting(make: Any) -> None:
    waits = {"role": "Trainer", "cause": "Any", "action": "RestartProcess"}
    job = Job(make, failurePolicy={"rules": [waits]})
    job.after(0, 0, 1)
    job.after(1, 0, trainer_failure=make.failure(cause="NodeLoss", pod="j-trainer-1"))
    job.after(1000, 0)
    assert job.trainer == (2, "Short")


def test_what_the_operator_waits_for_is_said(make: Any) -> None:
    job = Job(make)
    job.after(0, 0, 1)
    job.after(1, 0)
    job.after(10, 0)
    ready = next(one for one in job.status.conditions if one.type == "Ready")
    assert "Training goes on with 1 trainer pod instead of 2" in ready.message


def test_a_timer_keeps_a_job_from_being_settled(make: Any) -> None:
    job = Job(make)
    assert not job.after(0, 0, 1).lifecycle.elastic.timed
    assert job.after(1, 0).lifecycle.elastic.timed


def test_a_pass_that_is_held_up_forgets_no_size(make: Any) -> None:
    """A missing Secret must not end the attempt of a smaller trainer."""
    job = Job(make)
    job.after(0, 0, 1)
    job.after(1, 0)
    job.after(10, 0)
    owner = make.job(spec=job.spec, status=job.status)
    context = make.context(now=job.now)
    blocked = make.observed(owner, secrets={})
    plan = decisions.decide(blocked, context)
    assert plan.lifecycle.attempt == job.attempt
    kept = compute(blocked, plan, (), job.now)
    assert kept.roles is not None
    assert kept.roles.trainer is not None
    assert kept.roles.trainer.desired == 1
    children = make.children(owner, dict.fromkeys(Role, 0))
    held = dataclasses.replace(blocked, children=children, pods=())
    found = compute(held, decisions.decide(held, context), (), job.now)
    assert found.elastic == job.status.elastic


@pytest.mark.parametrize(
    ("given", "runs"),
    [
        ({}, True),
        ({"began": False}, False),
        ({"deleted": 1.0}, False),
        ({"cut_off": True}, False),
        ({"waiting": "ImagePullBackOff"}, False),
        ({"node": "node-2"}, False),
    ],
)
def test_a_pod_runs_once_it_has_begun_on_a_node_that_lives(
    make: Any, given: Any, runs: bool
) -> None:
    job = Job(make)
    pods = (make.pod("j-trainer-0", Role.TRAINER, **given),)
    seen = make.observed(make.job(spec=job.spec, status=job.status), pods=pods)
    seen = dataclasses.replace(seen, dead_nodes=frozenset({"node-2"}))
    found = elastic._running(seen, pods)
    assert found == (frozenset({0}) if runs else frozenset())


@pytest.mark.parametrize("trainer", [{"replicas": 1, "elastic": RANGE}, {"replicas": 1}])
def test_an_edit_that_takes_growing_back_begins_an_attempt(make: Any, trainer: Any) -> None:
    """The processes of the one before may have ended, and don't run it again."""
    job = Job(make)
    for seconds, *running in ((0, 0, 1), (1, 0), (10, 0), (1, 0, 1), (5, 0, 1)):
        job.after(seconds, *running)
    assert (job.trainer, job.attempt) == ((1, "Growing"), 2)
    job.spec = make.spec(trainer=trainer)
    assert job.after(1, 0, 1).coordinator_spec.attempt == 3
    assert job.after(1, 0, 1).coordinator_spec.attempt == 3


def test_an_attempt_that_begins_while_the_trainer_grows_has_the_new_size(make: Any) -> None:
    """It was `Growing` for ever: that attempt has the new size already, and never ends for it."""
    target = {"stage": "rl", "step": 40}
    job = Job(make, checkpoint={"rollbackTo": target})
    for seconds, *running in ((0, 0, 1), (1, 0), (10, 0), (1, 0, 1), (5, 0, 1)):
        job.after(seconds, *running)
    assert (job.trainer, job.attempt) == ((1, "Growing"), 2)
    assert job.status.rollback is not None
    sound = RollbackCheck(generation=job.status.rollback.generation)
    plan = job.after(1, 0, 1, rollback_check=sound)
    assert (job.trainer, job.attempt) == ((2, "Full"), 3)
    assert (plan.coordinator_spec.attempt, plan.coordinator_spec.trainer_size) == (3, 2)
    job.after(1, 0, 1, rollback_check=sound)
    assert (job.trainer, job.attempt) == ((2, "Full"), 3)


def test_a_coordinator_that_knows_no_sizes_gets_none(make: Any) -> None:
    """Its pod may be of an older release: a job keeps its pods while the operator is upgraded."""
    job = Job(make)
    job.after(0, 0, 1, rank_pods=None)
    plan = job.after(1000, 0, rank_pods=None)
    assert (job.trainer, job.attempt) == ((2, "Idle"), 1)
    assert plan.lifecycle.replicas[Role.TRAINER] == 2
    ready = next(one for one in job.status.conditions if one.type == "Ready")
    assert "set spec.suspend to true and back" in ready.message
    assert not plan.lifecycle.elastic.timed
    job.after(1, 0, 1)
    assert job.trainer == (2, "Full")


def test_more_engines_are_asked_for_while_the_job_stays_ready(make: Any) -> None:
    engines = {"minReplicas": 1, "maxReplicas": 3}
    spec = make.spec(rollout={"replicas": 1, "elastic": engines})
    memory = ElasticRole(
        state="Reduced", size=1, asked=1, began_with=1, since="2027-01-15T07:00:00Z"
    )
    status = make.status(elastic=ElasticStatus(rollout=memory), stage="rl")
    job = make.job(spec=spec, status=status)
    seen = make.observed(job, state=make.state("sft", stages=("rl",)))
    plan = decisions.decide(seen, make.context())
    assert plan.lifecycle.replicas[Role.ROLLOUT] == 3
    after = compute(seen, dataclasses.replace(plan, send=False), (), make.now)
    ready = next(one for one in after.conditions if one.type == "Ready")
    assert (ready.status, after.roles and after.roles.rollout and after.roles.rollout.desired) == (
        "True",
        1,
    )
    assert "to see if there is room" in ready.message


def test_a_pod_that_leaves_holds_its_rank_until_its_grace_period_ends(make: Any) -> None:
    """A smaller attempt would fence off the last checkpoint, which may take minutes."""
    job = Job(make)
    job.after(0, 0, 1)
    leaving = make.pod("j-trainer-1", Role.TRAINER, deleted=job.now + 600)
    found = {}
    for passed in (1, 500, 601, 611):
        owner = make.job(spec=job.spec, status=job.status)
        pods = tuple(leaving if one.name == leaving.name else one for one in make.pods(owner))
        seen = make.observed(owner, pods=pods, state=make.state("sft", stages=("rl",), attempt=1))
        context = dataclasses.replace(make.context(), now=make.now + passed)
        job.status = compute(seen, decisions.decide(seen, context), (), context.now)
        found[passed] = job.trainer
    assert found == {1: (2, "Full"), 500: (2, "Full"), 601: (2, "Short"), 611: (1, "Reduced")}


def test_a_size_that_an_unchecked_layout_needs_waits_with_it(make: Any) -> None:
    job = Job(make)
    job.after(0, 0, 1)
    job.after(1, 0)
    job.after(10, 0)
    assert (job.trainer, job.attempt) == ((1, "Reduced"), 2)
    before = make.job(spec=job.spec, status=job.status)
    wider = {"elastic": {**RANGE, "minReplicas": 2}, "parallelism": {"tensor": 2}}
    after = make.job(spec=make.spec(trainer=wider), status=job.status, generation=2)
    context = dataclasses.replace(make.context(), now=job.now)

    def sent(digest: str) -> Any:
        state = make.state("sft", stages=("rl",), attempt=2, prepared=True, spec_digest=digest)
        live, pods = make.children(before), make.pods(before)
        seen = make.observed(after, children=live, pods=pods, state=state)
        return decisions.decide(seen, context).coordinator_spec

    asked = sent("of the spec before the edit")
    assert (asked.attempt, asked.trainer_size) == (2, 1)
    checked = sent(asked.digest)
    assert (checked.attempt, checked.trainer_size) == (3, 2)


@pytest.mark.parametrize("ready", [True, False])
def test_an_engine_counts_once_it_is_ready(make: Any, ready: bool) -> None:
    engines = {"replicas": 1, "elastic": {"minReplicas": 1, "maxReplicas": 2}}
    spec = make.spec(rollout=engines)
    memory = ElasticRole(state="Reduced", size=1, asked=2, began_with=1, since=SINCE)
    status = make.status(elastic=ElasticStatus(rollout=memory), stage="rl")
    job = make.job(spec=spec, status=status)
    tried = make.pod("j-rollout-1", Role.ROLLOUT, ready=ready)
    state = make.state("sft", stages=("rl",))
    seen = make.observed(job, state=state, pods=(*make.pods(job), tried))
    found = decisions.decide(seen, make.context()).lifecycle.elastic.roles[Role.ROLLOUT]
    assert (found.state, found.size) == (("Full", 2) if ready else ("Reduced", 1))
    assert (found.grown is not None) is ready


def test_engines_that_a_policy_refuses_stall_no_job_that_works(make: Any) -> None:
    """They are only tried; the job says why there is no room."""
    engines = {"replicas": 1, "elastic": {"minReplicas": 1, "maxReplicas": 2}}
    spec = make.spec(rollout=engines)
    memory = ElasticRole(state="Reduced", size=1, asked=2, began_with=1, since=SINCE)
    status = make.status(elastic=ElasticStatus(rollout=memory), stage="rl")
    job = make.job(spec=spec, status=status)
    state, words = make.state("sft", stages=("rl",)), "pods is forbidden: no more than one engine."
    seen = make.observed(job, state=state, refusals={Role.ROLLOUT: words})
    later = dataclasses.replace(make.context(), now=make.now + 200)
    found = decisions.decide(seen, later).lifecycle
    assert found.blocker is None
    assert "There is no room for more (pods is forbidden: no more than one engine)" in str(
        found.note
    )
    without = dataclasses.replace(seen, pods=())
    blocker = decisions.decide(without, later).lifecycle.blocker
    assert blocker is not None
    assert blocker.reason == "PodsForbidden"


def test_engines_follow_their_range(make: Any) -> None:
    engines = {"minReplicas": 1, "maxReplicas": 3, "giveUpSeconds": 10}
    spec = make.spec(rollout={"replicas": 2, "elastic": engines})
    memory = ElasticRole(state="Short", size=3, asked=3, began_with=2, since="2027-01-15T07:59:00Z")
    status = make.status(elastic=ElasticStatus(rollout=memory), stage="rl")
    job = make.job(spec=spec, status=status)
    seen = make.observed(job, state=make.state("sft", stages=("rl",)))
    plan = decisions.decide(seen, make.context())
    assert plan.lifecycle.replicas[Role.ROLLOUT] == 2, "the third was missing for a minute"
    names = [child["metadata"]["name"] for child in plan.applies]
    assert role_name("j", Role.ROLLOUT) not in names, "the set has two already"


def test_without_enough_nodes_for_the_smallest_size_the_job_waits_for_nodes(make: Any) -> None:
    spec = make.spec(**SPEC)
    least = elastic.least(spec, full_size(spec))
    assert least[Role.TRAINER] == 1
    assert least[Role.ROLLOUT] == 1


@pytest.mark.parametrize(("running", "available"), [((0, 1), 1), ((0,), 0)])
def test_evictions_take_one_trainer_pod_at_a_time(
    make: Any, running: tuple[int, ...], available: int
) -> None:
    """Spares that hold no rank are never Ready, and don't count."""
    job = Job(make)
    job.after(0, 0, 1)
    job.after(1, *running)
    job.after(10, *running)
    plan = job.after(1, *running)
    budgets = [one for one in plan.applies if one["kind"] == "PodDisruptionBudget"]
    found = budgets[0]["spec"] if budgets else {"minAvailable": 1}
    assert found["minAvailable"] == available
    assert plan.lifecycle.replicas[Role.TRAINER] == 2


@pytest.mark.parametrize("role", [Role.TRAINER, Role.ROLLOUT])
def test_nothing_is_given_up_before_it_was_asked_for(make: Any, role: Role) -> None:
    """Pods with GPUs wait until the coordinator has checked the inputs, which may take long."""
    few = {"minReplicas": 1, "maxReplicas": 3, "giveUpSeconds": 10}
    trainer = {"replicas": 2, "elastic": RANGE, "gpusPerPod": 1}
    spec = make.spec(trainer=trainer, rollout={"replicas": 3, "elastic": few})
    status = make.status(stage="rl")
    for seconds in (0.0, 1.0, 1000.0):
        job = make.job(spec=spec, status=status)
        seen = make.observed(job, children={}, pods=(), state=make.state("sft", prepared=False))
        context = dataclasses.replace(make.context(), now=make.now + seconds)
        status = compute(seen, decisions.decide(seen, context), (), make.now + seconds)
    found = getattr(status.elastic, role.value.lower())
    assert found.asked == (2 if role is Role.TRAINER else 3)
    assert found.shrunk == []


def test_a_pod_that_pulls_its_image_is_not_missing(make: Any) -> None:
    job = Job(make)
    pods = (make.pod("j-trainer-0", Role.TRAINER, began=False, ready=False),)
    seen = make.observed(make.job(spec=job.spec, status=job.status), pods=pods)
    assert elastic._running(seen, pods) == frozenset()
    assert elastic._coming(seen, pods) == frozenset({0})
    unplaced = (dataclasses.replace(pods[0], node=None),)
    assert elastic._coming(seen, unplaced) == frozenset()


def test_times_of_a_clock_that_ran_ahead_are_forgotten(make: Any) -> None:
    """Until then failures of engines would count as older than the pods that the role counts."""
    ahead, now = stamp(make.now + 3600), stamp(make.now)
    memory = ElasticRole(
        state="Reduced", size=1, asked=2, began_with=1, since=now, grown=ahead, shrunk=[]
    )
    assert forgetting(memory, make.now).grown == now
    of_before = memory.model_copy(update={"grown": None})
    assert forgetting(of_before, make.now) is of_before
