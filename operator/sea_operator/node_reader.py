"""How many GPUs the nodes have; read only where no autoscaler adds any (`--fixed-nodes`).

Listed, not watched, since every kubelet writes to its node all the time; once a minute at most, and
only while a job is about to start pods with GPUs.
"""

import asyncio
import logging
from collections.abc import Callable

from sea_api.v1alpha1.pod_rules import GPU
from sea_operator.errors import KubeError
from sea_operator.kube.client import NODE, KubeClient
from sea_operator.observed import GPUNode, Object

log = logging.getLogger(__name__)

MAX_AGE_SECONDS = 60.0


class NodeReader:
    """The nodes that have GPUs; `monotonic` in seconds."""

    def __init__(self, client: KubeClient, monotonic: Callable[[], float]) -> None:
        self._client = client
        self._monotonic = monotonic
        self._lock = asyncio.Lock()
        self._read_at = float("-inf")
        self._nodes: tuple[GPUNode, ...] | None = None

    async def with_gpus(self) -> tuple[GPUNode, ...] | None:
        """None if the nodes can't be listed now: no job is stalled for that."""
        # Of many passes at one time one lists, and the others take its answer.
        async with self._lock:
            if self._monotonic() - self._read_at >= MAX_AGE_SECONDS:
                self._read_at = self._monotonic()
                self._nodes = await self._list()
        return self._nodes

    async def _list(self) -> tuple[GPUNode, ...] | None:
        try:
            found = map(_parsed, await self._client.list(NODE, None, ""))
        except KubeError as error:
            log.warning("nodes can't be listed: %s", error)
            return None
        return tuple(node for node in found if node.gpus)


def _parsed(node: Object) -> GPUNode:
    # Capacity, not what is allocatable at the moment: a device that is unhealthy comes back.
    amount = node.get("status", {}).get("capacity", {}).get(GPU, "0")
    return GPUNode(node["metadata"].get("labels", {}), int(amount))
