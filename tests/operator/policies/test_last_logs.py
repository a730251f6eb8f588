"""Which logs are kept, and that each is asked for once."""

from typing import Any

import pytest

from sea_api.v1alpha1.policy import Role
from sea_operator.decide import decide
from sea_operator.kube.client import POD
from sea_operator.plan import Lifecycle, Plan, Removal
from sea_operator.pods import Termination
from sea_operator.policies.last_logs import MAX_PODS, of_failed, of_going

KILLED = Termination("engine", 137, "OOMKilled", restarts=1, finished="t1", previous=True)


def paths(logs: Any) -> list[tuple[str, bool]]:
    return [(log.path.removeprefix("logs/"), log.previous) for log in logs]


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        ({}, []),
        ({"terminations": (KILLED,)}, [("j-rollout-0/engine.attempt-3.failed.log", True)]),
        # Evicted: it has its grace period, and nobody reads its log after that.
        (
            {"deleted": 5.0},
            [
                ("j-rollout-0/engine.attempt-3.log", False),
                ("j-rollout-0/worker.attempt-3.log", False),
            ],
        ),
        ({"terminations": (Termination("engine", 143, "Error"),)}, []),
        ({"terminations": (KILLED,), "began": False}, []),
        ({"terminations": (KILLED,), "node": None}, []),
    ],
)
def test_containers_that_ended_badly_and_pods_that_others_delete(
    make: Any, pod: dict[str, Any], expected: list[tuple[str, bool]]
) -> None:
    ends = {"deleted": make.now + pod["deleted"]} if "deleted" in pod else {}
    seen = make.pod("j-rollout-0", Role.ROLLOUT, **{**pod, **ends})
    assert paths(of_failed(make.observed(pods=(seen,)), 3)) == expected


def test_a_dead_nodes_kubelet_is_not_asked(make: Any) -> None:
    pod = make.pod("j-rollout-0", Role.ROLLOUT, terminations=(KILLED,))
    assert of_failed(make.observed(pods=(pod,), dead_nodes=frozenset({"node-1"})), 3) == ()


def test_a_container_that_is_started_meanwhile_is_read_again(make: Any) -> None:
    """Its log may have been read too late, when it was the next run's already."""
    now = Termination("engine", 1, "Error", finished="t1")
    then = Termination("engine", 1, "Error", restarts=1, finished="t1", previous=True)
    pods = [make.pod("j-rollout-0", Role.ROLLOUT, terminations=(end,)) for end in (now, then)]
    first, second = (of_failed(make.observed(pods=(pod,)), 1)[0] for pod in pods)
    assert first != second
    assert first.path == second.path


def test_of_a_failed_attempt_the_pod_that_failed_comes_first_and_not_all_ranks_follow(
    make: Any,
) -> None:
    pods = tuple(make.pod(f"j-trainer-{i}", Role.TRAINER) for i in range(40))
    state = make.state(trainer_failure=make.failure(attempt=2, pod="j-trainer-30"), attempt=2)
    logs = of_failed(make.observed(pods=pods, state=state), 2)
    assert [log.pod for log in logs[:3]] == ["j-trainer-30", "j-trainer-0", "j-trainer-1"]
    assert len(logs) == MAX_PODS
    assert of_failed(make.observed(pods=pods, state=state), 3) == (), "it is handled already"


def test_pods_that_a_plan_deletes_or_scales_away(make: Any) -> None:
    observed = make.observed()
    removals = (Removal(POD, "j-trainer-0", "uid-j-trainer-0"),)
    logs = of_going(observed, Plan(Lifecycle(attempt=7), removals=removals))
    assert paths(logs) == [("j-trainer-0/trainer.attempt-7.log", False)]
    smaller = make.observed(make.job(spec=make.spec(suspend=True), status=make.status()))
    assert of_going(smaller, decide(smaller, make.context())) == (), "a drain comes first"


def test_the_last_pods_of_a_job_that_is_over(make: Any) -> None:
    done = make.status(make.condition("Complete", "True"), stage="eval")
    observed = make.observed(make.job(status=done), state=make.state("sft", "rl", "eval"))
    logs = of_going(observed, decide(observed, make.context()))
    assert [log.path.removeprefix("logs/").partition(".")[0] for log in logs] == [
        "j-coordinator-0/coordinator",
        "j-trainer-0/trainer",
        "j-trainer-1/trainer",
        "j-rollout-0/engine",
        "j-rollout-0/worker",
        "j-user-0/engine",
        "j-user-0/worker",
    ]
