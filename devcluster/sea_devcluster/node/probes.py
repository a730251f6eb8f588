"""Startup, liveness and readiness probes of one run of a container.

`observe` is the state machine, `Checker` makes one attempt, `Prober` runs the loop.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import aiohttp

from .kube_json import Json
from .nsenter import execute
from .process import SandboxProcess

log = logging.getLogger(__name__)

HANDLERS = ("httpGet", "tcpSocket", "exec")


@dataclass(frozen=True)
class ProbeSpec:
    """One probe of a container. Times in seconds; defaults are the API server's."""

    kind: str
    """`startup`, `readiness` or `liveness`."""
    handler: Json
    period: float = 10.0
    timeout: float = 1.0
    initial_delay: float = 0.0
    success_threshold: int = 1
    failure_threshold: int = 3
    grace: float | None = None
    """The probe's own terminationGracePeriodSeconds, if it has one."""


@dataclass(frozen=True)
class ProbeState:
    """A probe's results so far; `healthy` is None until a threshold is reached."""

    healthy: bool | None = None
    successes: int = 0
    failures: int = 0


def parse_probe(container: Json, kind: str) -> ProbeSpec | None:
    """The container's probe of that kind, None if it has none."""
    body: dict[str, Any] | None = container.get(f"{kind}Probe")
    if not body:
        return None
    handler: Json = {key: body[key] for key in body if key in HANDLERS}
    return ProbeSpec(
        kind=kind,
        handler=handler,
        period=float(body.get("periodSeconds", 10)),
        timeout=float(body.get("timeoutSeconds", 1)),
        initial_delay=float(body.get("initialDelaySeconds", 0)),
        success_threshold=int(body.get("successThreshold", 1)),
        failure_threshold=int(body.get("failureThreshold", 3)),
        grace=body.get("terminationGracePeriodSeconds"),
    )


def observe(spec: ProbeSpec, state: ProbeState, success: bool) -> ProbeState:
    """The state after one more result: `healthy` flips after enough equal results in a row."""
    if success:
        state = replace(state, successes=state.successes + 1, failures=0)
        return replace(
            state, healthy=True if state.successes >= spec.success_threshold else state.healthy
        )
    state = replace(state, successes=0, failures=state.failures + 1)
    return replace(
        state, healthy=False if state.failures >= spec.failure_threshold else state.healthy
    )


def port_number(container: Json, port: int | str) -> int | None:
    """A probe's port, which may be the name of a container port; None for an unknown name."""
    if isinstance(port, int) or port.isdigit():
        return int(port)
    for one in container.get("ports") or []:
        if one.get("name") == port:
            return int(one["containerPort"])
    return None


class Checker:
    """Runs the probes of one container's current run against its pod's address."""

    def __init__(
        self,
        container: Json,
        address: str,
        process: SandboxProcess,
        environment: Mapping[str, str],
        session: aiohttp.ClientSession,
    ) -> None:
        self._container = container
        self._address = address
        self._process = process
        self._environment = environment
        self._session = session

    async def check(self, spec: ProbeSpec) -> str | None:
        """None for success, otherwise a sentence for the Unhealthy Event."""
        if "httpGet" in spec.handler:
            return await self._http(spec.handler["httpGet"], spec.timeout)
        if "tcpSocket" in spec.handler:
            return await self._tcp(spec.handler["tcpSocket"], spec.timeout)
        return await self._exec(spec.handler["exec"], spec.timeout)

    async def _http(self, handler: Json, seconds: float) -> str | None:
        port = port_number(self._container, handler["port"])
        host = handler.get("host") or self._address
        scheme = handler.get("scheme", "HTTP").lower()
        url = f"{scheme}://{host}:{port}/{handler.get('path', '/').lstrip('/')}"
        headers = {one["name"]: one["value"] for one in handler.get("httpHeaders") or []}
        try:
            # A kubelet doesn't check a probe's certificate, and a redirect counts as success.
            async with self._session.get(
                url,
                headers={"User-Agent": "kube-probe/devcluster", **headers},
                timeout=aiohttp.ClientTimeout(total=seconds),
                allow_redirects=False,
                ssl=False,
            ) as response:
                if response.status < 400:
                    return None
                body = (await response.content.read(200)).decode(errors="replace")
                return f"HTTP probe of {url} answered {response.status}: {body}"
        except TimeoutError:
            return f"HTTP probe of {url} got no answer within {seconds:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return f"HTTP probe of {url} failed: {error}"

    async def _tcp(self, handler: Json, seconds: float) -> str | None:
        port = port_number(self._container, handler["port"])
        host = handler.get("host") or self._address
        try:
            async with asyncio.timeout(seconds):
                _, writer = await asyncio.open_connection(host, port)
        except (TimeoutError, OSError) as error:
            return f"TCP probe of {host}:{port} failed: {error or 'timed out'}"
        # The connection alone is the check.
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return None

    async def _exec(self, handler: Json, seconds: float) -> str | None:
        pid = self._process.main_pid()
        if pid is None:
            return "the container has no process whose namespaces the probe's command could enter"
        result = await execute(pid, handler.get("command") or [], self._environment, seconds)
        if result.exit_code == 0:
            return None
        code = "no exit code" if result.exit_code is None else f"exit code {result.exit_code}"
        return f"command of the probe ended with {code}: {result.output}"


Check = Callable[[ProbeSpec], Awaitable[str | None]]


@dataclass(frozen=True)
class ProbeCallbacks:
    """How the prober reports to its container."""

    health: Callable[[bool, bool], None]
    """`(started, ready)` after every change."""
    failed: Callable[[ProbeSpec, str], None]
    """One attempt failed: for the Unhealthy Event."""
    unhealthy: Callable[[ProbeSpec], None]
    """A startup or liveness probe reached its threshold: the container must be killed."""


class Prober:
    """The probes of one container."""

    def __init__(self, container: Json, check: Check, callbacks: ProbeCallbacks) -> None:
        self._container = container
        self._check = check
        self._callbacks = callbacks

    async def run(self) -> None:
        """Probes until cancelled, or until startup or liveness reached its failure threshold."""
        startup = parse_probe(self._container, "startup")
        # Readiness and liveness begin after it: a slow start must not count as a failure.
        if startup and not await self._until_decided(startup):
            self._callbacks.unhealthy(startup)
            return
        readiness = parse_probe(self._container, "readiness")
        liveness = parse_probe(self._container, "liveness")
        # Started, and ready at once without a readiness probe.
        self._callbacks.health(True, readiness is None)
        async with asyncio.TaskGroup() as group:
            if readiness:
                group.create_task(self._readiness(readiness))
            if liveness:
                group.create_task(self._liveness(liveness))

    async def _until_decided(self, spec: ProbeSpec) -> bool:
        """Probes until a threshold is reached; True if healthy."""
        state = ProbeState()
        await asyncio.sleep(spec.initial_delay)
        while True:
            state = await self._attempt(spec, state)
            if state.healthy is not None:
                return state.healthy
            await asyncio.sleep(spec.period)

    async def _readiness(self, spec: ProbeSpec) -> None:
        # Not ready until it has succeeded; a live container until it has failed (below).
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
            # A kubelet also discards a probe that could not be made.
            log.exception("A %s probe failed unexpectedly", spec.kind)
            self._callbacks.failed(spec, f"it could not be made: {type(error).__name__}: {error}")
            return state
        if problem is not None:
            self._callbacks.failed(spec, problem)
        return observe(spec, state, problem is None)
