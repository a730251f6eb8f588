"""The life of one container: prepare, run, probe, stop, back off, run again."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable

from sea_devcluster.errors import DevclusterError

from .container_record import ContainerRecord, Termination
from .context import NodeContext, UnknownImageError
from .exit_status import (
    Backoff,
    FinishedRun,
    after_exit,
    classify,
    oom_kills,
    read_termination_message,
    should_restart,
)
from .kube_json import Json
from .launch import Launch, PodSetup, prepare, termination_file
from .logs import ContainerLog
from .probes import Checker, ProbeCallbacks, Prober, ProbeSpec
from .process import SandboxProcess, write_pids
from .references import MissingReferenceError

log = logging.getLogger(__name__)

MAX_FALLBACK_LINES = 80


class ContainerRunner:
    """Runs one container by its restart policy until that is satisfied or `stop` is called.

    `record` is always what the API server should know; `on_change` is called after each change.
    """

    def __init__(
        self,
        context: NodeContext,
        setup: PodSetup,
        container: Json,
        record: ContainerRecord,
        restart_policy: str,
        on_change: Callable[[], None],
    ) -> None:
        self.record = record
        self.log = ContainerLog(
            setup.container_folder(container["name"]) / "logs",
            context.config.log_bytes,
            context.now,
        )
        self.changed = asyncio.Event()
        self._context = context
        self._setup = setup
        self._container = container
        self._policy = restart_policy
        self._on_change = on_change
        self._stop = asyncio.Event()
        self._process: SandboxProcess | None = None
        self._killed = False
        self._backoff = Backoff()
        self._ending: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """The container's name."""
        return self.record.name

    async def run(self) -> None:
        """Run until the restart policy is satisfied or the container is stopped."""
        while not self._stop.is_set():
            launch = await self._prepared()
            if launch is None:
                return
            # After the preparation: waiting for a missing Secret is no healthy run time for the
            # back-off.
            ran_from = asyncio.get_running_loop().time()
            termination = await self._run_guarded(launch)
            self._set(self.record.as_terminated(termination))
            if termination.reason == "StartError":
                self._event("Warning", "Failed", f"Error: {termination.message}")
            if self._stop.is_set() or not should_restart(self._policy, termination.exit_code):
                return
            await self._back_off(asyncio.get_running_loop().time() - ran_from)

    async def stop(self, grace: float) -> None:
        """Sends SIGTERM, SIGKILL after `grace` seconds, and waits for the end; 0 kills at once.

        May be called again with a shorter grace period.
        """
        # SIGTERM is sent once; a second call only shortens the wait before SIGKILL.
        first = not self._stop.is_set()
        # Set before the process is read: a run that starts now sees the flag in `_watch`.
        self._stop.set()
        process = self._process
        if process is None:
            return
        if first:
            self._event("Normal", "Killing", f"Stopping container {self.name}")
        await self._end(process, grace, signal_it=first)

    async def until_started(self) -> None:
        """Wait until a sidecar has started (its startup probe passed), or has been stopped."""
        while not self.record.started and not self._stop.is_set():
            # Cleared before the wait, without an await since `started` was read: no change is
            # missed.
            self.changed.clear()
            stopped = asyncio.ensure_future(self._stop.wait())
            changed = asyncio.ensure_future(self.changed.wait())
            await asyncio.wait({stopped, changed}, return_when=asyncio.FIRST_COMPLETED)
            for task in (stopped, changed):
                task.cancel()

    async def _prepared(self) -> Launch | None:
        """Prepares the next run, retrying until everything exists; None once stopped."""
        attempt = 0
        while not self._stop.is_set():
            try:
                return await prepare(self._context, self._setup, self._container)
            except Exception as error:
                attempt += 1
                self._report_unprepared(error, attempt)
            await self._pause(min(self._context.config.retry_seconds * attempt, 10.0))
        return None

    def _report_unprepared(self, error: Exception, attempt: int) -> None:
        reason, message = "CreateContainerError", str(error)
        if not isinstance(error, (DevclusterError, OSError)):
            log.error("Container %s can't be prepared", self.name, exc_info=error)
            message = f"{type(error).__name__}: {error}"
        if isinstance(error, UnknownImageError):
            reason = "ErrImagePull" if attempt == 1 else "ImagePullBackOff"
        elif isinstance(error, MissingReferenceError):
            reason = "CreateContainerConfigError"
        self._set(self.record.as_waiting(reason, message))
        self._event("Warning", "Failed", f"{reason}: {message}")

    async def _run_guarded(self, launch: Launch) -> Termination:
        """One run; an unexpected error ends it, is reported, and the restart policy applies."""
        started_at = self._context.now()
        try:
            return await self._run_once(launch)
        except Exception as error:
            log.exception("The run of container %s failed unexpectedly", self.name)
            message = f"The node agent lost this run: {type(error).__name__}: {error}"
            self._event("Warning", "Failed", message)
            if (process := self._process) is not None:
                self._process = None
                process.kill()
            self.log.end()
            return Termination(128, "ContainerCannotRun", started_at, self._context.now(), message)

    async def _run_once(self, launch: Launch) -> Termination:
        # Before the start, as the counter is of the whole machine and only its growth counts.
        started_at, ooms = self._context.now(), oom_kills()
        container_id = f"devcluster://{secrets.token_hex(16)}"
        # The same rule as in `as_running`, so that the log's number is the restart count.
        before = self.record.terminated or self.record.last
        self.log.begin(self.record.restart_count + (1 if before else 0))
        self._killed = False
        try:
            process = await SandboxProcess.start(
                launch.arguments, launch.environment, self.log.write
            )
        except (OSError, ValueError) as error:  # no such program; a NUL in an argument
            self.log.end()
            return Termination(128, "StartError", started_at, self._context.now(), str(error))
        self._process = process
        # Process before record: `stop` may be called as soon as the record says Running.
        self._set(self.record.as_running(started_at, container_id))
        image = self._container["image"]
        self._event("Normal", "Pulled", f"Image {image!r} is mapped to programs of this machine")
        self._event("Normal", "Created", f"Created container {self.name}")
        self._event("Normal", "Started", f"Started container {self.name}")
        # Returns when all output was read, so the log below is complete.
        code = await self._watch(process, launch)
        self._process = None
        self.log.end()
        output = [line.partition(b" ")[2].decode(errors="replace") for line in self._output()]
        return classify(
            FinishedRun(
                exit_code=code,
                started_at=started_at,
                finished_at=self._context.now(),
                container_id=container_id,
                oom_kills=oom_kills() - ooms,
                killed_by_agent=self._killed,
                termination_message=read_termination_message(
                    termination_file(self._setup, self._container)
                ),
                output=tuple(output),
                fall_back_to_logs=self._container.get("terminationMessagePolicy")
                == "FallbackToLogsOnError",
            )
        )

    async def _watch(self, process: SandboxProcess, launch: Launch) -> int:
        """Probes the running container and waits until it ends."""
        checker = Checker(
            self._container,
            self._setup.facts.pod_ip,
            process,
            launch.environment,
            self._context.session,
        )
        callbacks = ProbeCallbacks(self._probed, self._probe_failed, self._unhealthy)
        probing = asyncio.ensure_future(Prober(self._container, checker.check, callbacks).run())
        # Next to the run: the main process appears a moment after bubblewrap.
        recording = asyncio.ensure_future(
            write_pids(self._setup.container_folder(self.name), process)
        )
        if self._stop.is_set():
            # Stopped while it was being started: `stop` saw no process to terminate.
            process.kill()
        try:
            return await process.wait()
        finally:
            # A probe of a process that has ended would be reported as Unhealthy.
            for task in (probing, recording):
                task.cancel()
            for broken in await asyncio.gather(probing, recording, return_exceptions=True):
                if isinstance(broken, Exception):
                    log.error(
                        "A task of container %s failed unexpectedly", self.name, exc_info=broken
                    )

    def _probed(self, started: bool, ready: bool) -> None:
        # A probe that ends late must not make a terminated container ready again.
        if self._process is not None and not self._stop.is_set():
            self._set(self.record.as_probed(started=started, ready=ready))

    def _probe_failed(self, spec: ProbeSpec, problem: str) -> None:
        if not self._stop.is_set():
            self._event("Warning", "Unhealthy", f"{spec.kind.capitalize()} probe failed: {problem}")

    def _unhealthy(self, spec: ProbeSpec) -> None:
        process = self._process
        if process is None or self._stop.is_set():
            return
        self._event(
            "Normal",
            "Killing",
            f"Container {self.name} failed its {spec.kind} probe: restarting it",
        )
        grace = spec.grace
        if grace is None:
            grace = self._setup.pod["spec"].get("terminationGracePeriodSeconds", 30)
        self._ending = asyncio.ensure_future(self._end(process, float(grace), signal_it=True))

    async def _end(self, process: SandboxProcess, grace: float, *, signal_it: bool) -> None:
        """Stops one run and waits for its end."""
        # Grace 0 is a forced deletion: SIGKILL without SIGTERM, as with a kubelet.
        if grace > 0 and signal_it:
            process.terminate()
        try:
            async with asyncio.timeout(grace):
                await process.wait()
        except TimeoutError:
            # Before the kill: an exit by our own SIGKILL (137) isn't the OOM killer's.
            self._killed = True
            process.kill()
            await process.wait()

    async def _back_off(self, ran_for: float) -> None:
        self._backoff, seconds = after_exit(self._context.backoff, self._backoff, ran_for)
        if seconds == 0:
            return
        message = f"back-off {seconds:g}s restarting failed container {self.name}"
        self._set(self.record.as_waiting("CrashLoopBackOff", message))
        self._event("Warning", "BackOff", f"Back-off restarting failed container {self.name}")
        await self._pause(seconds)

    async def _pause(self, seconds: float) -> None:
        """Sleeps, but no longer than until `stop`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()

    def _output(self) -> list[bytes]:
        return self.log.tail(self.log.run or 0, MAX_FALLBACK_LINES)

    def _set(self, record: ContainerRecord) -> None:
        if record != self.record:
            # Before both notifications, whose receivers read it.
            self.record = record
            self.changed.set()
            self._on_change()

    def _event(self, kind: str, reason: str, message: str) -> None:
        self._context.events.record(self._setup.pod, kind, reason, message, self.name)
