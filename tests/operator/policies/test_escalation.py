"""What a trainer's failure leads to when it comes back, and nodes that are avoided."""

import dataclasses
from typing import Any

import pytest

from sea_api.v1alpha1.policy import Action, Cause, FailurePolicy, FailureRule, Role
from sea_api.v1alpha1.status import PodFailure
from sea_operator.decide import decide
from sea_operator.policies import escalation
from sea_operator.policies.failures import DetectedFailure
from sea_operator.report import between
from sea_operator.resources.pod import avoiding
from sea_operator.status import compute
from sea_operator.timestamps import stamp

NOW = 1_800_000_000.0
POD, OTHER = "j-trainer-0", "j-trainer-1"


def failure(cause: Cause, pod: str = POD, role: Role = Role.TRAINER) -> DetectedFailure:
    return DetectedFailure(role, cause, pod, "It broke", NOW)


def before(*places: tuple[str, str | None], cause: Cause = Cause.PROCESS_EXIT) -> list[PodFailure]:
    return [
        PodFailure(pod=pod, node=node, cause=cause.value, time=stamp(NOW - 60))
        for pod, node in places
    ]


PROCESS, POD_, ROLE = Action.RESTART_PROCESS, Action.RESTART_POD, Action.RESTART_ROLE


@pytest.mark.parametrize(
    ("cause", "actions"),
    [
        (Cause.PROCESS_EXIT, [PROCESS, POD_, ROLE, ROLE]),
        (Cause.HANG, [PROCESS, POD_, ROLE, ROLE]),
        (Cause.OUT_OF_MEMORY, [PROCESS, POD_, POD_, POD_]),
        (Cause.EVICTION, [PROCESS, PROCESS, PROCESS, PROCESS]),
        (Cause.NODE_LOSS, [PROCESS, PROCESS, PROCESS, PROCESS]),
    ],
)
def test_what_comes_back_is_answered_by_more(cause: Cause, actions: list[Action]) -> None:
    found = [
        escalation.action(failure(cause), before(*[(POD, "node-1")] * times, cause=cause))
        for times in range(4)
    ]
    assert found == actions


def test_only_the_same_pod_and_cause_count() -> None:
    seen = before((OTHER, "node-2"), (OTHER, "node-2"))
    assert escalation.action(failure(Cause.PROCESS_EXIT), seen) is PROCESS
    seen = before((POD, "node-1"), cause=Cause.HANG)
    assert escalation.action(failure(Cause.PROCESS_EXIT), seen) is PROCESS


def test_other_roles_are_the_kubelets_business() -> None:
    seen = before((POD, "node-1"), (POD, "node-1"))
    engine = failure(Cause.PROCESS_EXIT, role=Role.ROLLOUT)
    assert escalation.action(engine, seen) is PROCESS


def test_a_rule_of_the_job_knows_no_steps() -> None:
    rule = FailureRule(role=Role.TRAINER, action=Action.RESTART_PROCESS)
    seen = before((POD, "node-1"), (POD, "node-1"))
    policy = FailurePolicy(rules=[rule])
    assert escalation.rule_for(policy, failure(Cause.HANG), seen) == rule


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([], ()),
        (["a"], ()),
        (["a", "b"], ()),
        (["a", "a"], ("a",)),
        (["b", "a", "a", "b", None, None], ("a", "b")),
    ],
)
def test_a_node_that_failed_twice_is_avoided(
    nodes: list[str | None], expected: tuple[str, ...]
) -> None:
    seen = before(*[(POD, node) for node in nodes])
    assert escalation.avoided(seen) == expected
    assert all(node in escalation.note(seen) for node in expected)
    assert escalation.avoided(before(*[(POD, n) for n in nodes], cause=Cause.OUT_OF_MEMORY)) == ()


def test_failures_are_forgotten_after_a_day() -> None:
    seen = before((POD, "node-1"))
    assert len(escalation.recent(seen, NOW + escalation.MEMORY_SECONDS - 61)) == 1
    assert escalation.recent(seen, NOW + escalation.MEMORY_SECONDS) == []
    many = before(*[(POD, "node-1")] * 40)
    assert len(escalation.remembered(many, failure(Cause.HANG), "n", NOW)) == 32


@pytest.mark.parametrize(
    ("earlier", "age", "cause"),
    [
        (2, 60, "ProcessExit"),  # its second failure: the pod was replaced
        (3, 60, "ProcessExit"),  # the whole role was
        (1, 60, "Eviction"),  # restarted in place: somebody else took the pod away
        (2, 600, "Eviction"),
    ],
)
def test_a_pod_that_the_operator_replaced_was_not_evicted(
    make: Any, earlier: int, age: int, cause: str
) -> None:
    """Its next failure would be free, and the ladder never climbed."""
    last = make.now - age
    known = [
        PodFailure(pod=POD, node="n", cause="ProcessExit", time=stamp(last - 1000 * older))
        for older in reversed(range(earlier))
    ]
    job = make.job(status=make.status(recent_failures=known))
    pods = tuple(
        dataclasses.replace(pod, created=make.now - 30) if pod.name == POD else pod
        for pod in make.pods(job)
    )
    state = make.state(trainer_failure=make.failure(pod=POD))
    plan = decide(make.observed(job, pods=pods, state=state), make.context())
    assert plan.lifecycle.recent_failures[-1].cause == cause


OTHERS = {"weight": 1, "preference": {"matchExpressions": [{"key": "x", "operator": "Exists"}]}}


def preferred(child: Any) -> Any:
    affinity = child["spec"]["template"]["spec"]["affinity"]
    return affinity["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]


def test_the_pods_own_preferences_stay_and_ours_is_there_once() -> None:
    affinity = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [OTHERS]}}
    child = {"spec": {"template": {"spec": {"affinity": affinity}}}}
    once = avoiding(child, ["a"])
    twice = avoiding(once, ["a", "b"])
    assert preferred(twice)[0] == OTHERS
    (ours,) = preferred(twice)[1:]
    # The API server refuses a field selector with more than one value.
    assert [one["values"] for one in ours["preference"]["matchFields"]] == [["a"], ["b"]]


def test_a_pod_that_fails_twice_is_replaced_and_its_node_named(make: Any) -> None:
    earlier = before((POD, "node-1"))
    job = make.job(status=make.status(recent_failures=earlier))
    state = make.state(trainer_failure=make.failure(pod=POD))
    seen = make.observed(job, state=state)
    plan = decide(seen, make.context())
    assert [one.name for one in plan.removals] == [POD]
    sets = [one for one in plan.applies if one["kind"] == "StatefulSet"]
    assert [one["metadata"]["name"] for one in sets] == ["j-trainer"], "before the pod goes"
    assert preferred(sets[0])[0]["preference"]["matchFields"][0]["values"] == ["node-1"]
    status = compute(seen, plan, (), make.now)
    assert [one.node for one in status.recent_failures] == ["node-1", "node-1"]
    events = {event.reason: event.message for event in between(job.status, status)}
    assert "node-1" in events["NodeAvoided"]
    again = dataclasses.replace(seen, job=make.job(status=status))
    assert len(decide(again, make.context()).lifecycle.recent_failures) == 2, "counted once"
