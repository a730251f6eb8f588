"""Writes one pod's status to the API server: only when it changed, one write at a time."""

import asyncio
import logging
from collections.abc import Callable

from sea_devcluster.errors import ApiError, ApiUnreachableError

from .api import ApiClient
from .kube_json import Json, namespaced_name

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
UNEXPECTED_RETRY_SECONDS = 10.0


class StatusPublisher:
    """`changed()` requests a write; changes during a write are combined in the next one."""

    def __init__(self, api: ApiClient, pod: Json, compute: Callable[[Json], Json]) -> None:
        metadata = pod["metadata"]
        self._api = api
        self._name = namespaced_name(pod)
        self._uid = metadata["uid"]
        self._path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/status"
        self._compute = compute
        self._written: Json = dict(pod.get("status") or {})
        self._dirty = asyncio.Event()
        self._writing = asyncio.Lock()

    def changed(self) -> None:
        """Requests a write."""
        self._dirty.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._dirty.wait()
            # Cleared before the write: a change during it sets the event again.
            self._dirty.clear()
            try:
                await self.flush()
            except ApiUnreachableError as error:
                log.warning("Status of %s not written: %s; retrying", self._name, error)
                self._dirty.set()
                await asyncio.sleep(RETRY_SECONDS)
            except Exception:
                log.exception("Status of %s can't be computed; retrying", self._name)
                self._dirty.set()
                await asyncio.sleep(UNEXPECTED_RETRY_SECONDS)

    async def flush(self) -> None:
        """Writes the status now if it changed; ApiUnreachableError if the server doesn't answer."""
        # `run` and `flush` callers: two writes at once could arrive in the wrong order.
        async with self._writing:
            status = self._compute(self._written)
            if status == self._written:
                return
            try:
                # The UID makes the server refuse the write if the name now means another pod.
                body = {"metadata": {"uid": self._uid}, "status": status}
                await self._api.patch(self._path, body)
                # Only after the server took it; otherwise the next flush would skip the write.
                self._written = status
            except ApiError as error:
                if error.status in {404, 409}:
                    log.debug("%s is gone: its status isn't written", self._name)
                    return
                # Overload and server errors pass; any other refusal would be repeated forever.
                if error.status == 429 or error.status >= 500:
                    raise ApiUnreachableError(str(error)) from error
                log.error("Status of %s refused: %s", self._name, error)
