"""Why a job's pods aren't there, by name and in words, and when that stalls the job. Pure.

What the kubelet and the scheduler say of a pod is in `Pod.waiting` already (`parsing.py`); this
adds what only the pod's deletion and its node can tell.
"""

from collections.abc import Mapping

from sea_api.contract import ROLES
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.names import GPU
from sea_api.v1alpha1.policy import Role
from sea_operator.observed import Blocker, GPUNode, Observed
from sea_operator.pods import Pod, Termination
from sea_operator.policies.failure_policy import log_of
from sea_operator.resources.role_settings import FIELDS, gpus_of, template_of

MAX_RESTARTS = 5
"""Restarts of a container whose pod was never ready: about five minutes of a kubelet's back-off."""
OVERDUE_SECONDS = (10, 30, 60, 120, 300, 600, 1800, 3600, 6 * 3600, 24 * 3600)
"""Steps in which a message counts: one that counts seconds would be written each second."""


def reasons(observed: Observed, now: float) -> Mapping[str, str]:
    """Why pods can't run or can't go, by name; those that just start are left out."""
    found = {pod.name: why(pod, observed.node_troubles, now) for pod in observed.pods}
    return {name: words for name, words in found.items() if words}


def why(pod: Pod, node_troubles: Mapping[str, str], now: float) -> str:
    """Why one pod isn't there; empty if nothing is wrong with it."""
    trouble = node_troubles.get(pod.node or "", "")
    if pod.deleted is not None:
        return _deletion(pod, pod.deleted, trouble, now)
    return trouble or pod.waiting


def never_ready(observed: Observed) -> Blocker | None:
    """The first pod that its role needs and that never was ready, for all restarts."""
    # The coordinator first: the others may fail without it.
    every = (pod for role in ROLES for pod in observed.of_role(role))
    pods = (pod for pod in every if not observed.is_spare(pod))
    found = ((pod, end) for pod in pods for end in pod.terminations if _never_worked(pod, end))
    first = next(found, None)
    return Blocker("NeverReady", _restarted(observed, *first)) if first else None


def _never_worked(pod: Pod, end: Termination) -> bool:
    """Whether only a person can help: a pod that was ready once may recover from an outage."""
    return end.restarts >= MAX_RESTARTS and not pod.ever_ready and pod.deleted is None


def _deletion(pod: Pod, due: float, trouble: str, now: float) -> str:
    passed = [seconds for seconds in OVERDUE_SECONDS if now - due >= seconds]
    if not passed:
        return ""
    holders = f", held by the finalizers {', '.join(pod.finalizers)}" if pod.finalizers else ""
    node = f"; {trouble}" if trouble else ""
    return f"its deletion is more than {passed[-1]} s overdue{holders}{node}"


def _restarted(observed: Observed, pod: Pod, end: Termination) -> str:
    return (
        f"Container {end.container} of pod {observed.job.namespace}/{pod.name} was restarted "
        f"{end.restarts} times and never became ready; it last ended with {end.words}."
        f"{log_of(observed, pod.name)} Correct what it fails on in the job, or the node it runs "
        "on; it is still tried again."
    )


def no_node(observed: Observed, spec: Spec, sizes: Mapping[Role, int]) -> Blocker | None:
    """The first role that is about to start and for whose pods the cluster has too few GPUs.

    Only where no autoscaler adds nodes: where one does, a pod has to be there and wait before it
    adds a node, and the scheduler's words are all that the job says then.

    Args:
        sizes: pods of each role in this stage.
    """
    if observed.gpu_nodes is None:
        return None
    for role, size in sizes.items():
        gpus = gpus_of(spec, role)
        if not gpus or not size or observed.replicas(role):
            continue
        nodes = [node for node in observed.gpu_nodes if _matches(spec, role, node)]
        if sum(node.gpus // gpus for node in nodes) < size:
            return Blocker("NoSuchNodes", _no_nodes(spec, role, size, nodes))
    return None


def _matches(spec: Spec, role: Role, node: GPUNode) -> bool:
    wanted = {**spec.scheduling.node_selector, **template_of(spec, role).node_selector}
    return wanted.items() <= node.labels.items()


def _no_nodes(spec: Spec, role: Role, size: int, nodes: list[GPUNode]) -> str:
    gpus, field = gpus_of(spec, role), f"spec.{FIELDS[role]}"
    most = max((node.gpus for node in nodes), default=0)
    total = sum(node.gpus for node in nodes)
    return (
        f"{field} asks for {size} pods with {gpus} {GPU} each, but the {len(nodes)} nodes that its "
        f"nodeSelector allows have at most {most} each, {total} together: lower gpusPerPod or "
        f"replicas of {field}, change nodeSelector, or add nodes."
    )
