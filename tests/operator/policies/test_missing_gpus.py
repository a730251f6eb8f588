"""A job that no node has GPUs for is stalled, where it is known that none will come."""

from typing import Any

import pytest

from sea_operator.decide import decide
from sea_operator.observed import GPUNode
from sea_operator.policies.role_sizes import sizes
from sea_operator.policies.waiting_pods import no_node

H100, OLD = {"gpu": "h100"}, {"gpu": "old"}
TWO_NODES = (GPUNode(H100, 8), GPUNode(OLD, 4))
ASKS: dict[str, dict[str, Any]] = {
    "trainer": {"replicas": 1, "gpusPerPod": 8, "warm": True},
    "rollout": {"replicas": 2, "gpusPerPod": 4, "warm": True},
    "userModel": {"engine": "Scripted"},
}


def found(make: Any, nodes: Any, spec: dict[str, Any], children: Any = None) -> str | None:
    job = make.job(spec=make.spec(**spec))
    observed = make.observed(job, children=children or {}, gpu_nodes=nodes)
    said = no_node(observed, job.spec, sizes(job.spec, 0))
    return said.message if said else None


@pytest.mark.parametrize(
    ("nodes", "edit"),
    [
        (TWO_NODES, {}),
        (None, {"trainer": {"gpusPerPod": 64}}),  # an autoscaler may add some
        ((), {"trainer": {"gpusPerPod": 0}, "rollout": {"gpusPerPod": 0}}),
        (TWO_NODES, {"scheduling": {"nodeSelector": H100}}),
        (TWO_NODES, {"rollout": {"replicas": 1, "template": {"nodeSelector": OLD}}}),
        (TWO_NODES, {"rollout": {"replicas": 0}}),
    ],
)
def test_what_the_nodes_have_room_for_stalls_nothing(make: Any, nodes: Any, edit: Any) -> None:
    assert found(make, nodes, merged(edit)) is None


@pytest.mark.parametrize(
    ("nodes", "edit", "says"),
    [
        ((), {}, "1 pods with 8 nvidia.com/gpu each, but the 0 nodes"),
        (TWO_NODES[1:], {}, "spec.trainer asks for 1 pods with 8"),
        (TWO_NODES, {"trainer": {"replicas": 2}}, "2 pods with 8 nvidia.com/gpu each"),
        (TWO_NODES, {"rollout": {"replicas": 4}}, "at most 8 each, 12 together"),
        (TWO_NODES, {"scheduling": {"nodeSelector": OLD}}, "the 1 nodes that its nodeSelector"),
        (TWO_NODES, {"trainer": {"template": {"nodeSelector": OLD}}}, "at most 4 each"),
    ],
)
def test_what_no_node_can_ever_run_is_named(make: Any, nodes: Any, edit: Any, says: str) -> None:
    assert says in str(found(make, nodes, merged(edit)))


def merged(edit: dict[str, Any]) -> dict[str, Any]:
    roles = {role: {**ASKS.get(role, {}), **more} for role, more in edit.items()}
    return {**ASKS, **roles}


def test_pods_that_run_are_left_alone(make: Any) -> None:
    """A node that is away for a moment, or that was sold, stalls no job that has its GPUs."""
    job = make.job(spec=make.spec(**ASKS))
    running = make.children(job, sizes(job.spec, 0))
    assert found(make, (), ASKS, running) is None


def test_the_job_is_stalled_before_any_pod_with_gpus_is_made(make: Any) -> None:
    job = make.job(spec=make.spec(**ASKS))
    observed = make.observed(job, children={}, pods=(), gpu_nodes=(), state=make.state())
    plan = decide(observed, make.context())
    assert plan.lifecycle.blocker is not None
    assert plan.lifecycle.blocker.reason == "NoSuchNodes"
    sets = [child for child in plan.applies if child["kind"] == "StatefulSet"]
    made = {child["metadata"]["name"]: child["spec"]["replicas"] for child in sets}
    assert made == {"j-coordinator": 1, "j-trainer": 0, "j-rollout": 0}
