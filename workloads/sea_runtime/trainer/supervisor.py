"""The trainer pod's main program: heartbeat each second, training processes as it says.

Observes, asks `supervision.decide`, acts. Imports no torch: it answers probes and heartbeats in
milliseconds whatever the processes do.
"""

import asyncio
import contextlib
import logging
import os
import time
import uuid
from pathlib import Path

from sea_api import logs
from sea_api.contract import role_label
from sea_api.v1alpha1.policy import Role
from sea_runtime.client.async_client import AsyncCoordinatorClient
from sea_runtime.client.calls import CoordinatorError
from sea_runtime.trainer import supervision
from sea_runtime.trainer.child import Child
from sea_runtime.trainer.settings import PodSettings
from sea_runtime.trainer.supervision import Action, Hand, Kill, Observed, Start, State
from sea_runtime.trainer.world import DEFAULT_TIMEOUT_S
from sea_runtime.wire.membership import Heartbeat, HeartbeatReply, PodState

log = logging.getLogger(__name__)
BEAT_S = 1.0
HEARTBEAT_PATIENCE_S = 5.0
RESTART_PAUSE_S = 1.0
ROLE = role_label(Role.TRAINER)
MEMORY_EVENTS = Path("/sys/fs/cgroup/memory.events")


def oom_kills(path: Path = MEMORY_EVENTS) -> int:
    """How often the kernel has killed for memory in this pod; 0 where it doesn't say."""
    try:
        fields = dict(line.split() for line in path.read_text().splitlines())
    except (OSError, ValueError):
        return 0
    return int(fields.get("oom_kill", 0))


class Supervisor:
    """One trainer pod."""

    def __init__(self, settings: PodSettings) -> None:
        self.settings = settings
        self.incarnation = uuid.uuid4().hex
        self.state = State()
        self._children: list[Child] = []
        self._reply = HeartbeatReply()
        self._ooms = oom_kills()
        self._timeout = float(os.environ.get("SEA_COLLECTIVE_TIMEOUT_S", DEFAULT_TIMEOUT_S))

    @property
    def ready(self) -> bool:
        """All processes have joined the current attempt."""
        return self._beat().state is PodState.READY

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set; then ends the processes."""
        client = AsyncCoordinatorClient(
            self.settings.coordinator, self.settings.token, retry_timeout=HEARTBEAT_PATIENCE_S
        )
        async with client:
            beats = asyncio.create_task(self._beats(client))
            try:
                while not stop.is_set():
                    await self._once()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(stop.wait(), BEAT_S / 4)
            finally:
                beats.cancel()
                await self._kill()

    async def _beats(self, client: AsyncCoordinatorClient) -> None:
        """A heartbeat each second, in time also while processes are being ended."""
        while True:
            started = time.monotonic()
            try:
                self._reply = await client.heartbeat(self._beat())
            except CoordinatorError as error:  # training goes on without the coordinator
                log.warning("No heartbeat: %s", error)
            await asyncio.sleep(max(0.0, BEAT_S - (time.monotonic() - started)))

    def _beat(self) -> Heartbeat:
        joined = [child.joined for child in self._children]
        state, attempt, cause, detail = supervision.heartbeat_state(self.state, joined)
        return Heartbeat(
            pod=self.settings.pod,
            role=ROLE,
            address=self.settings.address,
            incarnation=self.incarnation,
            state=state,
            attempt=attempt,
            cause=cause,
            detail=detail,
        )

    async def _once(self) -> None:
        state, actions = supervision.decide(self.state, self._observe())
        if state.failure is not None and state.failure != self.state.failure:
            log.error("Training failed: %s", state.failure)
        self.state = state
        for action in actions:
            await self._act(action)

    def _observe(self) -> Observed:
        world = self._reply.world if self._reply.run else None
        here = world is not None and self.settings.pod in world.pods
        reported = [child.reported for child in self._children if child.reported]
        lines = [child.last_line for child in self._children if child.exit_code]
        heard = max((child.heard for child in self._children), default=time.monotonic())
        return Observed(
            wanted=world if here else None,
            exits=[child.exit_code for child in self._children],
            reported=reported[0] if reported else None,
            last_line=lines[0] if lines else "",
            silence=time.monotonic() - heard,
            out_of_memory=oom_kills() > self._ooms,
        )

    async def _act(self, action: Action) -> None:
        match action:
            case Start():
                await self._start()
            case Hand(world):
                logs.bind(attempt=world.attempt)
                places = supervision.worlds(world, self.settings.pod, self._timeout)
                for child, place in zip(self._children, places, strict=True):
                    await child.hand(place)
            case Kill():
                await self._kill()
                await asyncio.sleep(RESTART_PAUSE_S if not self.state.running else 0.0)

    async def _start(self) -> None:
        self._ooms = oom_kills()
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self._children = [await Child.start(environment) for _ in range(self.settings.processes)]

    async def _kill(self) -> None:
        await asyncio.gather(*(child.kill() for child in self._children))
        self._children = []
