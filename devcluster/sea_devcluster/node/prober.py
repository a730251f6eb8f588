"""Runs a container's probes for one run: startup first, then liveness and readiness together."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from .probes import ProbeSpec, ProbeState, observe, parse_probe
from .wire import Json

log = logging.getLogger(__name__)

Check = Callable[[ProbeSpec], Awaitable[str | None]]


@dataclass(frozen=True)
class ProbeCallbacks:
    """What the prober tells its container."""

    health: Callable[[bool, bool], None]
    """`(started, ready)` after every change."""
    failed: Callable[[ProbeSpec, str], None]
    """One attempt failed: for the Unhealthy event."""
    unhealthy: Callable[[ProbeSpec], None]
    """A startup or liveness probe gave up: the container has to be killed."""


class Prober:
    """The probes of one container."""

    def __init__(self, container: Json, check: Check, callbacks: ProbeCallbacks) -> None:
        self._container = container
        self._check = check
        self._callbacks = callbacks

    async def run(self) -> None:
        """Probe until cancelled, or until startup or liveness failed for good."""
        startup = parse_probe(self._container, "startup")
        if startup and not await self._until_verdict(startup):
            self._callbacks.unhealthy(startup)
            return
        readiness = parse_probe(self._container, "readiness")
        liveness = parse_probe(self._container, "liveness")
        self._callbacks.health(True, readiness is None)
        async with asyncio.TaskGroup() as group:
            if readiness:
                group.create_task(self._readiness(readiness))
            if liveness:
                group.create_task(self._liveness(liveness))

    async def _until_verdict(self, spec: ProbeSpec) -> bool:
        """Probe until there's a verdict."""
        state = ProbeState()
        await asyncio.sleep(spec.initial_delay)
        while True:
            state = await self._attempt(spec, state)
            if state.healthy is not None:
                return state.healthy
            await asyncio.sleep(spec.period)

    async def _readiness(self, spec: ProbeSpec) -> None:
        state = ProbeState(healthy=False)
        await asyncio.sleep(spec.initial_delay)
        while True:
            before, state = state.healthy, await self._attempt(spec, state)
            if state.healthy != before:
                self._callbacks.health(True, bool(state.healthy))
            await asyncio.sleep(spec.period)

    async def _liveness(self, spec: ProbeSpec) -> None:
        state = ProbeState(healthy=True)
        await asyncio.sleep(spec.initial_delay)
        while True:
            state = await self._attempt(spec, state)
            if not state.healthy:
                self._callbacks.unhealthy(spec)
                return
            await asyncio.sleep(spec.period)

    async def _attempt(self, spec: ProbeSpec, state: ProbeState) -> ProbeState:
        try:
            problem = await self._check(spec)
        except Exception as error:
            # A kubelet, too, throws the result of a probe away that could not be made.
            log.exception("A %s probe broke", spec.kind)
            self._callbacks.failed(spec, f"it could not be made: {type(error).__name__}: {error}")
            return state
        if problem is not None:
            self._callbacks.failed(spec, problem)
        return observe(spec, state, problem is None)
