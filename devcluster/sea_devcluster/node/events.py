"""Events about pods through the core Events API: aggregated, bounded, non-blocking."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime

from sea_devcluster.errors import ApiError, DevclusterError

from .api import ApiClient
from .kube_json import Json, timestamp

log = logging.getLogger(__name__)

MAX_QUEUED = 1000
MAX_REMEMBERED = 2000
REPEAT_SECONDS = 5.0


class EventRecorder:
    """Queues Events, which one task writes. A full queue drops new ones: pods take precedence."""

    def __init__(self, api: ApiClient, node_name: str, now: Callable[[], datetime]) -> None:
        self._api = api
        self._node_name = node_name
        self._now = now
        self._queue: asyncio.Queue[Json] = asyncio.Queue(MAX_QUEUED)
        self._known: OrderedDict[tuple[str, ...], Json] = OrderedDict()
        self._number = 0

    def record(self, about: Json, kind: str, reason: str, message: str, part: str = "") -> None:
        """Records an Event of type `kind` (Normal, Warning); `part` is a container's name."""
        event = self._event(about, kind, reason, message[:1000], part)
        key = (about["metadata"]["uid"], part, reason, message[:1000])
        known = self._known.get(key)
        if known is not None:
            known["count"] += 1
            known["lastTimestamp"] = event["lastTimestamp"]
            # Repeats are counted here and written every few seconds at most.
            if (self._now() - known["_written"]).total_seconds() < REPEAT_SECONDS:
                return
            event = known
        event["_written"] = self._now()
        self._known[key] = event
        self._known.move_to_end(key)
        while len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
        if not self._queue.full():
            self._queue.put_nowait(event)

    async def run(self) -> None:
        """Write Events until cancelled."""
        while True:
            event = await self._queue.get()
            try:
                await self._write(event)
            except DevclusterError as error:
                log.debug("Event %s not written: %s", event["reason"], error)

    async def _write(self, event: Json) -> None:
        path = f"/api/v1/namespaces/{event['metadata']['namespace']}/events"
        if event.get("_created"):
            change = {"count": event["count"], "lastTimestamp": event["lastTimestamp"]}
            await self._api.patch(f"{path}/{event['metadata']['name']}", change, "merge")
            return
        body = {key: value for key, value in event.items() if not key.startswith("_")}
        try:
            await self._api.create(path, body)
        except ApiError as error:
            # 409: the answer to the request before was lost; names are unique.
            if error.status != 409:
                raise
        # After the request: an Event that was never created can't be patched, and would be lost
        # with all its repeats.
        event["_created"] = True

    def _event(self, about: Json, kind: str, reason: str, message: str, part: str) -> Json:
        metadata = about["metadata"]
        moment = timestamp(self._now())
        self._number += 1
        # Time and a counter: names stay unique over restarts of the agent.
        unique = f"{int(self._now().timestamp() * 1e6):x}{self._number:x}"
        involved = {
            "apiVersion": "v1",
            "kind": about.get("kind") or "Pod",
            "namespace": metadata.get("namespace", "default"),
            "name": metadata["name"],
            "uid": metadata["uid"],
        }
        if part:
            involved["fieldPath"] = f"spec.containers{{{part}}}"
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{metadata['name'][:200]}.{unique}",
                "namespace": metadata.get("namespace", "default"),
            },
            "involvedObject": involved,
            "type": kind,
            "reason": reason,
            "message": message,
            "source": {"component": "devcluster-node", "host": self._node_name},
            "reportingComponent": "devcluster-node",
            "reportingInstance": self._node_name,
            "firstTimestamp": moment,
            "lastTimestamp": moment,
            "count": 1,
        }
