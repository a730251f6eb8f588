"""Pods with GPUs for which no node is large enough, where no autoscaler adds nodes. Pure.

Where one does, a pod has to be there and wait before it adds a node: the scheduler's words are all
that the job says then.
"""

from collections.abc import Mapping

from sea_api.contract import role_name
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.pod_rules import GPU
from sea_api.v1alpha1.policy import Role
from sea_operator.observed import Blocker, GPUNode, Observed
from sea_operator.resources.build import FIELDS, gpus_of, template_of


def blocker(observed: Observed, spec: Spec, sizes: Mapping[Role, int]) -> Blocker | None:
    """The first role that is about to start and whose pods could never all run.

    Args:
        sizes: pods of each role in this stage.
    """
    if observed.gpu_nodes is None:
        return None
    for role, size in sizes.items():
        gpus = gpus_of(spec, role)
        if not gpus or not size or observed.replicas(role_name(observed.job.name, role)):
            continue
        nodes = [node for node in observed.gpu_nodes if _matches(spec, role, node)]
        if sum(node.gpus // gpus for node in nodes) < size:
            return Blocker("NoSuchNodes", _sentence(spec, role, size, nodes))
    return None


def _matches(spec: Spec, role: Role, node: GPUNode) -> bool:
    wanted = {**spec.scheduling.node_selector, **template_of(spec, role).node_selector}
    return wanted.items() <= node.labels.items()


def _sentence(spec: Spec, role: Role, size: int, nodes: list[GPUNode]) -> str:
    gpus, field = gpus_of(spec, role), f"spec.{FIELDS[role]}"
    most = max((node.gpus for node in nodes), default=0)
    total = sum(node.gpus for node in nodes)
    return (
        f"{field} asks for {size} pods with {gpus} {GPU} each, but the {len(nodes)} nodes that its "
        f"nodeSelector allows have at most {most} each, {total} together: lower gpusPerPod or "
        f"replicas of {field}, change nodeSelector, or add nodes."
    )
