"""The cause of a failure: the process itself, or the infrastructure that removed its pod."""

import dataclasses
from typing import Any

import pytest

from sea_api.v1alpha1.elastic_status import ElasticRole, ElasticStatus
from sea_api.v1alpha1.policy import Cause, Role
from sea_operator.decide import decide
from sea_operator.observed import Observed
from sea_operator.pods import Termination
from sea_operator.policies.failures import of_others, of_trainer


def world(make: Any, cause: Any = "ProcessExit", **change: Any) -> Any:
    observed = make.observed(state=make.state(trainer_failure=make.failure(cause=cause)))
    pods = [
        dataclasses.replace(pod, **change) if pod.name == "j-trainer-0" else pod
        for pod in observed.pods
    ]
    return dataclasses.replace(observed, pods=tuple(pods))


def cause_of(observed: Observed) -> Cause | None:
    failure = of_trainer(observed, 1)
    return failure.cause if failure else None


@pytest.mark.parametrize(
    ("cause", "change", "expected"),
    [
        ("ProcessExit", {}, Cause.PROCESS_EXIT),
        ("Hang", {}, Cause.HANG),
        ("OutOfMemory", {}, Cause.OUT_OF_MEMORY),
        ("UserError", {}, Cause.USER_ERROR),
        ("nonsense", {}, Cause.PROCESS_EXIT),
        ("ProcessExit", {"disrupted": True}, Cause.EVICTION),
        ("ProcessExit", {"deleted": 5.0}, Cause.EVICTION),
        ("ProcessExit", {"created": 1_799_999_990.0}, Cause.EVICTION),
        ("ProcessExit", {"created": 1_799_999_800.0}, Cause.PROCESS_EXIT),
    ],
)
def test_the_blamed_cause(make: Any, cause: str, change: Any, expected: Any) -> None:
    assert cause_of(world(make, cause, **change)) is expected


def test_pods_that_are_all_young_are_not_excused(make: Any) -> None:
    observed = make.observed(state=make.state(trainer_failure=make.failure()))
    young = tuple(dataclasses.replace(pod, created=make.now - 20) for pod in observed.pods)
    assert cause_of(dataclasses.replace(observed, pods=young)) is Cause.PROCESS_EXIT


def test_a_missing_pod_and_a_dead_node_are_infrastructure(make: Any) -> None:
    observed = world(make)
    fewer = tuple(pod for pod in observed.pods if pod.name != "j-trainer-1")
    assert cause_of(dataclasses.replace(observed, pods=fewer)) is Cause.EVICTION
    dead = dataclasses.replace(observed, dead_nodes=frozenset({"node-1"}))
    assert cause_of(dead) is Cause.NODE_LOSS


SPARE, RANK = "j-trainer-2", "j-trainer-1"


@pytest.mark.parametrize(
    ("ranks", "struck", "change", "expected"),
    [
        ([0, 1], SPARE, {"node": "gone"}, Cause.PROCESS_EXIT),
        ([0, 1], SPARE, {"disrupted": True}, Cause.PROCESS_EXIT),
        ([0, 1], SPARE, {"deleted": 5.0}, Cause.PROCESS_EXIT),
        ([0, 1], SPARE, None, Cause.PROCESS_EXIT),
        ([0, 1], RANK, {"node": "gone"}, Cause.NODE_LOSS),
        ([0, 1], RANK, None, Cause.EVICTION),
        # The first pods that ran when the attempt began hold the ranks, whatever their numbers.
        ([1, 2], SPARE, {"disrupted": True}, Cause.EVICTION),
        # Before all have called it isn't known who would hold one.
        ([], SPARE, {"node": "gone"}, Cause.NODE_LOSS),
    ],
)
def test_only_pods_that_hold_ranks_are_to_blame(
    make: Any, ranks: list[int], struck: str, change: Any, expected: Cause
) -> None:
    """One that waits warm for its chance to join has done nothing yet. None: the pod is missing."""
    spec = make.spec(trainer={"replicas": 3})
    names = [f"j-trainer-{one}" for one in ranks]
    state = make.state(trainer_failure=make.failure(), rank_pods=names)
    observed = make.observed(make.job(spec=spec, status=make.status()), state=state)
    pods = (
        dataclasses.replace(pod, **change or {}) if pod.name == struck else pod
        for pod in observed.pods
        if pod.name != struck or change is not None
    )
    seen = dataclasses.replace(observed, pods=tuple(pods), dead_nodes=frozenset({"gone"}))
    assert cause_of(seen) is expected


@pytest.mark.parametrize(("lost", "fenced"), [(RANK, [f"uid-{RANK}"]), (SPARE, [])])
def test_a_lost_pod_without_a_rank_costs_no_attempt(
    make: Any, lost: str, fenced: list[str]
) -> None:
    spec = make.spec(trainer={"replicas": 3})
    state = make.state(rank_pods=["j-trainer-0", RANK])
    observed = make.observed(make.job(spec=spec, status=make.status()), state=state)
    pods = tuple(
        dataclasses.replace(pod, node="gone", deleted=make.now - 600) if pod.name == lost else pod
        for pod in observed.pods
    )
    seen = dataclasses.replace(observed, pods=pods, dead_nodes=frozenset({"gone"}))
    plan = decide(seen, make.context())
    assert [one.name for one in plan.fenced_removals] == [lost]
    assert list(plan.lifecycle.fenced) == fenced
    assert plan.lifecycle.attempt == (2 if fenced else 1)


def test_failures_of_other_attempts_are_history(make: Any) -> None:
    assert of_trainer(world(make), 2) is None
    assert of_trainer(make.observed(), 1) is None
    assert of_trainer(make.observed(state=None), 1) is None


@pytest.mark.parametrize(
    ("termination", "cause"),
    [
        (Termination("engine", 1, "Error"), Cause.PROCESS_EXIT),
        (Termination("engine", 137, "OOMKilled"), Cause.OUT_OF_MEMORY),
        (Termination("engine", 0, "Completed"), None),
        (Termination("engine", 143, "Error"), None),
    ],
)
def test_ends_of_other_containers(make: Any, termination: Any, cause: Any) -> None:
    pod = make.pod("j-rollout-0", Role.ROLLOUT, terminations=(termination,))
    found = of_others(make.observed(pods=(pod,)), make.now)
    assert [failure.cause for failure in found] == ([cause] if cause else [])


def test_trainer_pods_and_leaving_pods_are_not_others(make: Any) -> None:
    ended = (Termination("c", 1, "Error"),)
    pods = (
        make.pod("j-trainer-0", Role.TRAINER, terminations=ended),
        make.pod("j-rollout-0", Role.ROLLOUT, terminations=ended, deleted=1.0),
        make.pod("stranger", None, terminations=ended),
    )
    assert of_others(make.observed(pods=pods), make.now) == ()


@pytest.mark.parametrize(
    ("pod", "ended", "counts"),
    [
        ("j-rollout-0", {"finished": "2027-01-15T08:00:01Z"}, True),
        ("j-rollout-0", {"finished": "2027-01-15T08:00:01Z", "previous": True}, True),
        # It crashed once while it was only tried, and serves now.
        ("j-rollout-0", {"finished": "2027-01-15T07:59:00Z", "previous": True}, False),
        ("j-rollout-0", {"finished": "2027-01-15T07:59:00Z"}, True),
        ("j-rollout-0", {"finished": "", "previous": True}, True),
        ("j-rollout-1", {"finished": "2027-01-15T08:00:01Z"}, False),
    ],
)
@pytest.mark.parametrize("later", [None, "2027-01-15T08:30:00Z"])
def test_an_engine_that_is_only_tried_fails_no_job(
    make: Any, pod: str, ended: dict[str, Any], counts: bool, later: str | None
) -> None:
    """`later`: its state changed again after the role began to count it."""
    rule = {"role": "Rollout", "cause": "ProcessExit", "action": "FailJob"}
    engines = {"replicas": 1, "elastic": {"minReplicas": 1, "maxReplicas": 2}}
    spec = make.spec(rollout=engines, failurePolicy={"rules": [rule]})
    time = "2027-01-15T08:00:00Z"
    memory = ElasticRole(
        state="Reduced", size=1, asked=2, began_with=1, since=later or time, grown=later and time
    )
    job = make.job(spec=spec, status=make.status(elastic=ElasticStatus(rollout=memory)))
    crashed = make.pod(
        pod, Role.ROLLOUT, terminations=(Termination("engine", 1, "Error", **ended),)
    )
    seen = make.observed(job, pods=(*make.pods(job), crashed))
    assert bool(of_others(seen, make.now)) is counts
    assert (decide(seen, make.context()).lifecycle.failed is not None) is counts
