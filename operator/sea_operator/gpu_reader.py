"""Which GPUs a job's pods may get, by the labels of the nodes that their selectors match.

NVIDIA's GPU feature discovery labels nodes with product and memory. The coordinator's plan needs
them before pods with GPUs exist, when there is no pod whose node could be looked at. A few nodes
are listed per selector and remembered for minutes: nodes aren't watched, and kinds rarely change.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sea_api.contract import role_label
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.policy import Role
from sea_api.v1alpha1.roles import Rollout, Trainer, UserModel
from sea_api.wire.coordinator_spec import NodeGpu
from sea_operator.errors import KubeError
from sea_operator.kube.client import NODE, KubeClient

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 600.0
"""Between two lists of the nodes of one selector."""
MAX_NODES = "50"
"""A list's bound: nodes of one pool are of one kind."""
PRODUCT = "nvidia.com/gpu.product"
MEMORY = "nvidia.com/gpu.memory"
"""MiB of one GPU."""


@dataclass(frozen=True)
class _Read:
    at: float
    found: NodeGpu | None


class GpuReader:
    """The kind of GPU by role; `monotonic` in seconds."""

    def __init__(self, client: KubeClient, monotonic: Callable[[], float]) -> None:
        self._client, self._monotonic = client, monotonic
        self._known: dict[str, _Read] = {}
        """By selector."""
        self._lock = asyncio.Lock()

    async def kinds(self, spec: Spec) -> dict[str, NodeGpu]:
        """By role's label, of the roles with GPUs whose nodes all have one kind."""
        found = {}
        for role, selector in selectors(spec).items():
            # One at a time: the passes of many new jobs would all list the same nodes.
            async with self._lock:
                kind = await self._kind(selector)
            if kind is not None:
                found[role_label(role)] = kind
        return found

    async def _kind(self, selector: str) -> NodeGpu | None:
        now, known = self._monotonic(), self._known.get(selector)
        if known is None or now - known.at >= INTERVAL_SECONDS:
            before = known.found if known else None
            # An empty answer or an outage changes nothing: the plan would come and go with it.
            known = _Read(now, await self._read(selector) or before)
            self._known[selector] = known
        return known.found

    async def _read(self, selector: str) -> NodeGpu | None:
        query = [("labelSelector", selector), ("limit", MAX_NODES)]
        try:
            found = await self._client.request("GET", NODE.path(None), query)
        # Without the right to list nodes, the plan goes by what the job's own selectors name.
        except KubeError as error:
            log.info("nodes not listed: %s", error)
            return None
        return common([item["metadata"].get("labels", {}) for item in found["items"]])


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
    return ",".join([*named, PRODUCT])


def common(labels: list[dict[str, str]]) -> NodeGpu | None:
    """The kind that all the nodes have; None if they differ or don't say."""
    kinds = {(one.get(PRODUCT), one.get(MEMORY)) for one in labels}
    if len(kinds) != 1:
        return None
    product, memory = kinds.pop()
    if product is None:
        return None
    return NodeGpu(
        product=product, memory_mib=int(memory) if memory and memory.isdecimal() else None
    )
