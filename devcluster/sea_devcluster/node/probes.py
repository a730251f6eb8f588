"""Probes as a state machine: results in, verdict out. Pure."""

from dataclasses import dataclass, replace
from typing import Any

from .wire import Json

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
    """terminationGracePeriodSeconds of the probe itself, where it has one."""


@dataclass(frozen=True)
class ProbeState:
    """What a probe has found so far; `healthy` is None until a threshold is reached."""

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
    """The state after one more result: the verdict flips once its threshold is reached in a row."""
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
