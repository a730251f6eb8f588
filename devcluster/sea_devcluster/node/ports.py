"""Warns, with an Event on the Service, about ports that only a real cluster would translate."""

import asyncio

from .api import ApiClient
from .events import EventRecorder
from .hosts import untranslated_ports
from .reflector import Reflector
from .wire import Json

SETTLE_SECONDS = 1.0


class PortWatch:
    """Compares every clusterIP Service with the ports its EndpointSlices publish."""

    def __init__(self, api: ApiClient, slices: Reflector, events: EventRecorder) -> None:
        self.services = Reflector(api, "/api/v1/services", self._changed)
        self._slices = slices
        self._events = events
        self._warned: set[tuple[str, str]] = set()
        self._dirty = asyncio.Event()

    async def run(self) -> None:
        """Look again after every change of a Service, until cancelled."""
        while True:
            await self._dirty.wait()
            # Endpoints appear a moment after their Service.
            await asyncio.sleep(SETTLE_SECONDS)
            self._dirty.clear()
            for service in list(self.services.objects.values()):
                self._check(service)

    def _check(self, service: Json) -> None:
        metadata = service["metadata"]
        behind = [
            one
            for one in self._slices.objects.values()
            if one["metadata"]["namespace"] == metadata["namespace"]
            and (one["metadata"].get("labels") or {}).get("kubernetes.io/service-name")
            == metadata["name"]
        ]
        if metadata["name"] == "kubernetes" and metadata["namespace"] == "default":
            return
        for sentence in untranslated_ports(service, behind):
            if (metadata["uid"], sentence) not in self._warned:
                self._warned.add((metadata["uid"], sentence))
                about = {**service, "kind": "Service"}
                self._events.record(about, "Warning", "PortsNotTranslated", sentence)

    def _changed(self, _old: Json | None, _new: Json | None) -> None:
        self._dirty.set()
