"""The cause of a failure: the process itself, or the infrastructure that removed its pod."""

import dataclasses
from typing import Any

import pytest

from sea_api.v1alpha1.policy import Cause, Role
from sea_operator.observed import Observed, Termination
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
