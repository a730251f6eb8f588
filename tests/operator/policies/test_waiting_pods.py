"""Why pods aren't there, by name and in words; an engine that never became ready stalls the job."""

from typing import Any

import pytest

from sea_api.v1alpha1.elastic_status import ElasticRole, ElasticStatus
from sea_api.v1alpha1.policy import Role
from sea_operator.decide import decide
from sea_operator.pods import Termination
from sea_operator.policies.waiting_pods import MAX_RESTARTS, never_ready, reasons
from sea_operator.status import compute

SINCE = "2027-01-15T07:59:00Z"
NODE = "its node node-1 isn't ready since 2027-01-15T08:00:00Z"


@pytest.mark.parametrize(
    ("pod", "nodes", "expected"),
    [
        ({}, {}, None),
        ({"waiting": "Unschedulable: no GPU."}, {}, "Unschedulable: no GPU."),
        ({"waiting": "x", "ready": False}, {"node-1": NODE}, NODE),
        ({"deleted": -5.0}, {}, None),
        ({"deleted": -45.0}, {}, "its deletion is more than 30 s overdue"),
        (
            {"deleted": -45.0, "finalizers": ("example.com/hold", "b")},
            {},
            "its deletion is more than 30 s overdue, held by the finalizers example.com/hold, b",
        ),
        (
            {"deleted": -4000.0},
            {"node-1": NODE},
            f"its deletion is more than 3600 s overdue; {NODE}",
        ),
        ({"deleted": 20.0, "waiting": "x"}, {}, None),
    ],
)
def test_a_pod_says_why_it_is_not_there(
    make: Any, pod: Any, nodes: Any, expected: str | None
) -> None:
    ends = {"deleted": make.now + pod["deleted"]} if "deleted" in pod else {}
    seen = make.pod("j-trainer-1", Role.TRAINER, **{**pod, **ends})
    observed = make.observed(pods=(seen,), node_troubles=nodes)
    assert reasons(observed, make.now).get("j-trainer-1") == expected


def test_an_overdue_deletion_is_written_a_few_times_and_not_each_second(make: Any) -> None:
    pod = make.pod("j-trainer-1", Role.TRAINER, deleted=make.now)
    observed = make.observed(pods=(pod,))
    texts = {reasons(observed, make.now + second).get("j-trainer-1") for second in range(3600)}
    assert len(texts) == 8


def failing(make: Any, restarts: int, **fields: Any) -> Any:
    role = fields.pop("role", Role.ROLLOUT)
    container = fields.pop("container", "engine")
    end = Termination(container, 1, "Error", "a\nRuntimeError: no such model", restarts)
    return make.pod(
        f"j-{role.value.lower()}-0", role, **{"ready": False, "terminations": (end,), **fields}
    )


@pytest.mark.parametrize(
    ("restarts", "fields", "stalls"),
    [
        (MAX_RESTARTS, {}, True),
        (MAX_RESTARTS, {"role": Role.USER}, True),
        (MAX_RESTARTS, {"container": "worker"}, True),
        (MAX_RESTARTS - 1, {}, False),
        (MAX_RESTARTS, {"ever_ready": True}, False),
        (MAX_RESTARTS, {"deleted": 1.0}, False),
    ],
)
def test_an_engine_that_never_became_ready_stalls_the_job(
    make: Any, restarts: int, fields: Any, stalls: bool
) -> None:
    observed = make.observed(pods=(failing(make, restarts, **fields),))
    assert (never_ready(observed) is not None) is stalls


@pytest.mark.parametrize(
    ("name", "role", "stalls"),
    [
        ("j-trainer-1", Role.TRAINER, True),
        ("j-trainer-2", Role.TRAINER, False),
        ("j-rollout-1", Role.ROLLOUT, True),
        ("j-rollout-2", Role.ROLLOUT, False),
    ],
)
def test_a_pod_that_its_role_works_without_stalls_nothing(
    make: Any, name: str, role: Role, stalls: bool
) -> None:
    """An elastic role asks for it to see whether there is room; on a bad node there is none."""
    memory = ElasticRole(state="Reduced", size=2, asked=3, began_with=2, since=SINCE)
    status = make.status(elastic=ElasticStatus(trainer=memory, rollout=memory))
    end = Termination("c", 1, "Error", restarts=MAX_RESTARTS)
    pod = make.pod(name, role, ready=False, terminations=(end,))
    state = make.state(rank_pods=["j-trainer-0", "j-trainer-1"])
    observed = make.observed(make.job(status=status), pods=(pod,), state=state)
    assert (never_ready(observed) is not None) is stalls


def test_the_coordinator_that_engines_wait_for_is_named_first(make: Any) -> None:
    pods = (
        failing(make, 9),
        failing(make, 9, role=Role.COORDINATOR, container="coordinator"),
    )
    found = never_ready(make.observed(pods=pods))
    assert found is not None
    assert "pod n/j-coordinator-0" in found.message


def test_the_status_says_how_it_ended(make: Any) -> None:
    others = [pod for pod in make.observed().pods if pod.role is not Role.ROLLOUT]
    observed = make.observed(pods=(*others, failing(make, 7)))
    status = compute(observed, decide(observed, make.context()), (), make.now)
    stalled = next(one for one in status.conditions if one.type == "Stalled")
    assert (stalled.status, status.state) == ("True", "Stalled: NeverReady")
    assert stalled.message.startswith(
        "Container engine of pod n/j-rollout-0 was restarted 7 times and never became ready; it "
        "last ended with exit code 1 (Error): a | RuntimeError: no such model. Correct"
    )
