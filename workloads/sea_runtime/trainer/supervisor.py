"""The trainer pod's main program: a heartbeat per second, and processes as its reply says.

Observes, calls `supervision.decide`, acts. Imports no torch: it answers probes and sends heartbeats
within milliseconds whatever the processes do.
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
from sea_runtime import software
from sea_runtime.client.async_client import AsyncCoordinatorClient
from sea_runtime.client.calls import CoordinatorError
from sea_runtime.trainer import supervision
from sea_runtime.trainer.context import PodSettings
from sea_runtime.trainer.process_handle import ProcessHandle
from sea_runtime.trainer.process_protocol import DEFAULT_TIMEOUT_SECONDS
from sea_runtime.trainer.supervision import Action, Assign, Kill, Observed, Start, State
from sea_runtime.wire.membership import Heartbeat, HeartbeatReply, PodState

log = logging.getLogger(__name__)
HEARTBEAT_SECONDS = 1.0
# Short: a heartbeat that is late is worth less than the next one.
HEARTBEAT_RETRY_SECONDS = 5.0
# Keeps a process that fails at once from being started in a tight loop.
RESTART_PAUSE_SECONDS = 1.0
# Of the grace period, for the end of processes that didn't end by themselves.
KILL_SECONDS = 15.0
ROLE = role_label(Role.TRAINER)
STACKS_LOG = "stacks"
"""Name under which stacks are kept next to the logs of the pod's containers."""
MEMORY_EVENTS = Path("/sys/fs/cgroup/memory.events")


def oom_kills(path: Path = MEMORY_EVENTS) -> int:
    """How often the kernel has killed for memory in this pod; 0 if it does not say."""
    try:
        fields = dict(line.split() for line in path.read_text().splitlines())
    except (OSError, ValueError):
        return 0
    return int(fields.get("oom_kill", 0))


class Supervisor:
    """One trainer pod."""

    def __init__(self, settings: PodSettings) -> None:
        self._settings = settings
        self._client = AsyncCoordinatorClient(
            settings.coordinator, settings.token, retry_timeout=HEARTBEAT_RETRY_SECONDS
        )
        # Tells the coordinator a restarted supervisor from the one before under the same pod name.
        self._incarnation = uuid.uuid4().hex
        self._state = State()
        self._processes: list[ProcessHandle] = []
        self._reply = HeartbeatReply()
        self._sending = asyncio.Lock()
        self._stop = asyncio.Event()
        self._ooms = oom_kills()
        self._kept_stacks: set[int] = set()
        self._timeout_s = float(os.environ.get("SEA_COLLECTIVE_TIMEOUT_S", DEFAULT_TIMEOUT_SECONDS))

    @property
    def ready(self) -> bool:
        """True if all processes have joined the current attempt."""
        return self._heartbeat().state is PodState.READY

    def stop(self) -> None:
        """Lets `run` end."""
        self._stop.set()

    async def run(self) -> None:
        """Runs until `stop` is called; then lets the attempt end well, and ends the processes."""
        async with self._client:
            heartbeats = asyncio.create_task(self._send_heartbeats())
            try:
                while not self._stop.is_set():
                    await self._once()
                    with contextlib.suppress(TimeoutError):
                        # Sleeps, but ends at once on SIGTERM.
                        await asyncio.wait_for(self._stop.wait(), HEARTBEAT_SECONDS / 4)
                await self._leave()
            finally:
                # First: a heartbeat during `_kill` would report processes that are being ended.
                heartbeats.cancel()
                await self._kill()

    async def _leave(self) -> None:
        """Lets the attempt commit a last checkpoint, as long as the pod has time for it.

        Rank 0 may be in another pod: the coordinator, which learns from the heartbeat that this one
        leaves, has it stop. Without a coordinator nothing would be known of the checkpoint.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, self._settings.grace_s - KILL_SECONDS)):
                while self._state.running and await self._send_heartbeat():
                    await self._once()
                    await asyncio.sleep(HEARTBEAT_SECONDS / 4)

    async def _send_heartbeats(self) -> None:
        """A task of its own: heartbeats go on while processes are being ended."""
        while True:
            started = time.monotonic()
            await self._send_heartbeat()
            await asyncio.sleep(max(0.0, HEARTBEAT_SECONDS - (time.monotonic() - started)))

    async def _send_heartbeat(self) -> bool:
        """True if the coordinator has taken it."""
        # One at a time: the reply to an older heartbeat must not replace a newer one.
        async with self._sending:
            try:
                self._reply = await self._client.heartbeat(self._heartbeat)
            except CoordinatorError as error:  # training goes on without the coordinator
                log.warning("No heartbeat: %s", error)
                return False
            return True

    def _heartbeat(self) -> Heartbeat:
        joined = [process.joined for process in self._processes]
        state, attempt, cause, detail = supervision.heartbeat_state(self._state, joined)
        return Heartbeat(
            pod=self._settings.pod,
            role=ROLE,
            address=self._settings.address,
            incarnation=self._incarnation,
            state=state,
            attempt=attempt,
            cause=cause,
            detail=detail,
            software=software.installed(),
            leaving=self._stop.is_set(),
        )

    async def _once(self) -> None:
        state, actions = supervision.decide(self._state, self._observe())
        failure = state.failure if state.failure != self._state.failure else None
        # Before the actions: a heartbeat that is sent while they run must not call a pod ready
        # whose processes are being killed.
        self._state = state
        if failure is not None:
            log.error("Training failed (%s): %s", failure.cause, failure.message)
            await self._report_failure()
            await self._keep_stacks(failure.attempt)
        for action in actions:
            await self._act(action)

    async def _report_failure(self) -> None:
        """Delivers the failure while the process that reported it is still there.

        Its end breaks the connections of all its peers, whose supervisors then report that. The
        coordinator keeps the first failure of an attempt, so the cause has to arrive before.
        """
        while not await self._send_heartbeat():
            if self._stop.is_set() or all(one.exit_code is not None for one in self._processes):
                return
            await asyncio.sleep(HEARTBEAT_SECONDS)

    def _observe(self) -> Observed:
        # The last reply counts while the coordinator is away: an outage must not stop training.
        world = self._reply.world if self._reply.run else None
        here = world is not None and self._settings.pod in world.pods
        reported = [process.reported for process in self._processes if process.reported]
        lines = [process.last_line for process in self._processes if process.exit_code]
        heard = max((one.last_heard for one in self._processes), default=time.monotonic())
        longest = max((one.longest_silence for one in self._processes), default=0.0)
        signs = max((one.signs for one in self._processes), default=0)
        return Observed(
            desired=world if here else None,
            exits=[process.exit_code for process in self._processes],
            reported=reported[0] if reported else None,
            last_line=lines[0] if lines else "",
            silence=time.monotonic() - heard,
            hang_seconds=supervision.hang_seconds(longest, signs, self._timeout_s),
            # Compared with the count at the start: memory.events never goes back.
            out_of_memory=oom_kills() > self._ooms,
        )

    async def _act(self, action: Action) -> None:
        match action:
            case Start():
                await self._start()
            case Assign(world):
                logs.bind(attempt=world.attempt)
                ranks = supervision.assignments(world, self._settings.pod, self._timeout_s)
                # strict: a process without a rank would leave its peers waiting in `join`.
                for process, assignment in zip(self._processes, ranks, strict=True):
                    await process.assign(assignment)
            case Kill():
                if self._reply.keep_stacks:
                    await self._keep_stacks(self._reply.keep_stacks)
                await self._kill()
                await asyncio.sleep(RESTART_PAUSE_SECONDS if not self._state.running else 0.0)

    async def _start(self) -> None:
        # Before the start: kills of earlier processes must not be blamed on these.
        self._ooms = oom_kills()
        own = self._settings.environment()
        environment = {**os.environ, **own, "PYTHONUNBUFFERED": "1"}
        self._processes = [
            await ProcessHandle.start(environment, stacks=self._stacks_file(number))
            for number in range(self._settings.processes)
        ]

    def _stacks_file(self, number: int) -> Path:
        """Empty for each process that starts: stacks of the one before would look like its own."""
        file = self._settings.data_dir / f"stacks-{number}.txt"
        file.unlink(missing_ok=True)
        return file

    async def _keep_stacks(self, attempt: int) -> None:
        """Has the coordinator store what the processes that still run do, before they are ended."""
        if attempt in self._kept_stacks:
            return
        self._kept_stacks.add(attempt)
        texts = await asyncio.gather(*(process.stacks() for process in self._processes))
        found = [f"process {i}\n{text}" for i, text in enumerate(texts) if text]
        if not found:
            return
        try:
            await self._client.keep_log(
                self._settings.pod, STACKS_LOG, attempt, "\n".join(found).encode()
            )
        except CoordinatorError as error:  # the restart is worth more than the stacks
            log.warning("The stacks of attempt %d aren't kept: %s", attempt, error)

    async def _kill(self) -> None:
        # Concurrently: each may take its whole grace period.
        await asyncio.gather(*(process.kill() for process in self._processes))
        self._processes = []
