"""Outdated pods are replaced gang by gang or engine by engine; dead ones wait for their grace."""

import dataclasses
from typing import Any

import pytest

from sea_api.v1alpha1.policy import Role
from sea_operator.policies.drift import outdated
from sea_operator.policies.failures import lost_pods, to_fence


def rollouts(make: Any, *marks: Any) -> Any:
    """`o` outdated, `n` new; upper case is ready; `x` is leaving."""
    letters = {"o": "old", "n": "new", "x": "old"}
    return tuple(
        make.pod(
            f"j-rollout-{i}",
            Role.ROLLOUT,
            template_hash=letters[mark.lower()],
            ready=mark.isupper(),
            deleted=1.0 if mark.lower() == "x" else None,
        )
        for i, mark in enumerate(marks)
    )


def live(make: Any, hash_: str) -> Any:
    found = make.children(make.job())
    template = found["StatefulSet", "j-rollout"]["spec"]["template"]
    template["metadata"]["labels"]["sea-operator.io/template-hash"] = hash_
    return found


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        ("NNN", []),
        ("OOO", ["j-rollout-2"]),
        ("OON", ["j-rollout-1"]),
        ("OOn", []),
        ("OoN", ["j-rollout-1"]),
        ("ooo", ["j-rollout-0", "j-rollout-1", "j-rollout-2"]),
        ("OOX", []),
        ("O", ["j-rollout-0"]),
    ],
)
def test_engines_go_one_by_one(make: Any, marks: str, expected: Any) -> None:
    observed = make.observed(pods=rollouts(make, *marks), children=live(make, "new"))
    assert [pod.name for pod in outdated(observed, {Role.ROLLOUT: "new"})] == expected


def test_no_pod_goes_before_its_set_has_the_new_template(make: Any) -> None:
    observed = make.observed(pods=rollouts(make, "O"), children=live(make, "old"))
    assert outdated(observed, {Role.ROLLOUT: "new"}) == ()


def test_the_trainer_goes_as_one_gang(make: Any) -> None:
    job = make.job()
    pods = make.pods(job, template_hash="old")
    observed = make.observed(job, pods=pods)
    found = outdated(observed, make.hashes(job))
    names = {pod.name for pod in found if pod.role is Role.TRAINER}
    assert names == {"j-trainer-0", "j-trainer-1"}


@pytest.mark.parametrize(
    ("deleted", "node", "expected"),
    [(None, "dead", 0), (-59.0, "dead", 0), (-60.0, "dead", 1), (-600.0, "alive", 0)],
)
def test_only_overdue_pods_of_dead_nodes_are_lost(
    make: Any, deleted: float | None, node: str, expected: int
) -> None:
    ends = None if deleted is None else make.now + deleted
    pod = make.pod("j-trainer-0", Role.TRAINER, deleted=ends, node=node)
    observed = make.observed(pods=(pod,), dead_nodes=frozenset({"dead"}))
    assert len(lost_pods(observed, make.now, 60.0)) == expected


def test_writers_need_a_fence_and_engines_do_not(make: Any) -> None:
    engine = make.pod("j-rollout-0", Role.ROLLOUT)
    coordinator = dataclasses.replace(engine, role=Role.COORDINATOR, uid="c")
    assert to_fence(make.observed(), (engine,)) == ()
    assert to_fence(make.observed(), (engine, coordinator)) == ("c",)
