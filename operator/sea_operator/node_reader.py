"""The one reader of nodes: which GPUs they have, and which of them are dead.

Nodes aren't watched, since every kubelet writes to its node all the time. Passes ask:

- `kinds`: which GPUs a job's pods may get, by the labels that NVIDIA's GPU feature discovery gives
  to nodes. The coordinator's plan needs them before there is a pod whose node could be looked at. A
  few nodes are listed per selector and remembered for minutes, since kinds rarely change.
- `with_gpus`: all nodes with GPUs, only where no autoscaler adds any (`--fixed-nodes`) and while a
  job is about to start pods with GPUs; listed once a minute at most.
- `dead`: the nodes of pods that should be gone or can't report, each read afresh.

Nothing but `dead` decides anything by force, and a node that can't be read is none of them.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sea_api.contract import GPU_MEMORY_LABEL, GPU_PRODUCT_LABEL, role_label
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.names import GPU
from sea_api.v1alpha1.policy import Role
from sea_api.v1alpha1.roles import Rollout, Trainer, UserModel
from sea_api.wire.coordinator_spec import NodeGpu
from sea_operator import pod_parsing
from sea_operator.errors import KubeError, NotFoundError
from sea_operator.kube.client import NODE, KubeClient
from sea_operator.observed import GPUNode, Object
from sea_operator.pods import Pod

log = logging.getLogger(__name__)

KIND_SECONDS = 600.0
"""Between two lists of the nodes of one selector."""
MAX_NODES = "50"
"""A list's bound: nodes of one pool are of one kind."""
COUNT_SECONDS = 60.0
"""Between two lists of all nodes."""


@dataclass(frozen=True)
class _Read:
    at: float
    found: NodeGpu | None


class NodeReader:
    """Reads of nodes for all jobs.

    Args:
        monotonic: in seconds.
        fixed: whether no autoscaler adds nodes.
    """

    def __init__(
        self, client: KubeClient, monotonic: Callable[[], float], *, fixed: bool = False
    ) -> None:
        self._client, self._monotonic, self._fixed = client, monotonic, fixed
        # Of many passes at one time one lists, and the others take its answer.
        self._lock = asyncio.Lock()
        self._kinds: dict[str, _Read] = {}
        """By selector."""
        self._counted_at = float("-inf")
        self._with_gpus: tuple[GPUNode, ...] | None = None

    async def kinds(self, spec: Spec) -> dict[str, NodeGpu]:
        """The kind of GPU by role's label, for roles whose nodes all have the same."""
        found = {}
        for role, selector in selectors(spec).items():
            async with self._lock:
                kind = await self._kind(selector)
            if kind is not None:
                found[role_label(role)] = kind
        return found

    async def with_gpus(self) -> tuple[GPUNode, ...] | None:
        """None if an autoscaler may add some or they can't be listed now: it stalls no job."""
        if not self._fixed:
            return None
        async with self._lock:
            if self._monotonic() - self._counted_at >= COUNT_SECONDS:
                self._counted_at = self._monotonic()
                self._with_gpus = await self._count()
        return self._with_gpus

    async def dead(self, pods: Iterable[Pod]) -> dict[str, str]:
        """Nodes that are gone or silent, and what is wrong with each.

        Reads only nodes with a pod that should be gone or can't report, and reads them fresh: the
        answer decides on forced deletion. A node that can't be read isn't treated as dead; without
        the optional ClusterRole no node can be read.
        """
        names = sorted(
            {pod.node for pod in pods if pod.node and (pod.deleted is not None or pod.cut_off)}
        )
        nodes = await asyncio.gather(*map(self._read, names), return_exceptions=True)
        found = {
            name: pod_parsing.node_trouble(name, node)
            for name, node in zip(names, nodes, strict=True)
            if not isinstance(node, BaseException)
        }
        return {name: trouble for name, trouble in found.items() if trouble}

    async def _read(self, name: str) -> Object | None:
        try:
            return await self._client.get(NODE, None, name)
        except NotFoundError:
            return None

    async def _kind(self, selector: str) -> NodeGpu | None:
        now, known = self._monotonic(), self._kinds.get(selector)
        if known is None or now - known.at >= KIND_SECONDS:
            before = known.found if known else None
            # An empty answer or an outage changes nothing: the plan would come and go with it.
            known = _Read(now, await self._list_kind(selector) or before)
            self._kinds[selector] = known
        return known.found

    async def _list_kind(self, selector: str) -> NodeGpu | None:
        query = [("labelSelector", selector), ("limit", MAX_NODES)]
        try:
            found = await self._client.request("GET", NODE.path(None), query)
        # Without the right to list nodes, the plan goes by what the job's own selectors name.
        except KubeError as error:
            log.info("nodes not listed: %s", error)
            return None
        return common([item["metadata"].get("labels", {}) for item in found["items"]])

    async def _count(self) -> tuple[GPUNode, ...] | None:
        try:
            found = map(_with_gpus, await self._client.list(NODE, None, ""))
        except KubeError as error:
            log.warning("nodes can't be listed: %s", error)
            return None
        return tuple(node for node in found if node.gpus)


def selectors(spec: Spec) -> dict[Role, str]:
    """Label selector of the nodes that a role's GPU pods may run on, that name their GPUs."""
    roles: dict[Role, Trainer | Rollout | UserModel] = {
        Role.TRAINER: spec.trainer,
        Role.ROLLOUT: spec.rollout,
        Role.USER: spec.user_model,
    }
    return {
        role: _selector({**spec.scheduling.node_selector, **one.template.node_selector})
        for role, one in roles.items()
        if one.gpus_per_pod
    }


def _selector(labels: Mapping[str, str]) -> str:
    named = [f"{key}={value}" for key, value in sorted(labels.items())]
    return ",".join([*named, GPU_PRODUCT_LABEL])


def common(labels: list[dict[str, str]]) -> NodeGpu | None:
    """The kind that all the nodes have; None if they differ or don't say."""
    kinds = {(one.get(GPU_PRODUCT_LABEL), one.get(GPU_MEMORY_LABEL)) for one in labels}
    if len(kinds) != 1:
        return None
    product, memory = kinds.pop()
    if product is None:
        return None
    return NodeGpu(
        product=product, memory_mib=int(memory) if memory and memory.isdecimal() else None
    )


def _with_gpus(node: Object) -> GPUNode:
    # Capacity, not what is allocatable at the moment: a device that is unhealthy comes back.
    amount = node.get("status", {}).get("capacity", {}).get(GPU, "0")
    return GPUNode(node["metadata"].get("labels", {}), int(amount))
