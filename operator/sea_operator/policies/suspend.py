"""Suspend and resume: drain, release the pods, and start a new attempt later.

The `Suspended` condition is the memory: False (running), Unknown (draining, since its transition
time), True (released).
"""

from datetime import datetime

from sea_api.v1alpha1.status import Status
from sea_api.wire.state import CoordinatorState
from sea_operator.plan import Suspension
from sea_operator.policies.progress import condition


def suspension(
    *,
    wanted: bool,
    status: Status,
    state: CoordinatorState | None,
    coordinator_replicas: int | None,
    now: float,
    timeout: float,
) -> Suspension:
    """The phase of a suspension.

    Draining ends when the coordinator reports `drained`, after `timeout` seconds, or immediately
    if the job never ran. A coordinator that is scaled down can report nothing: the drain is over.
    """
    if not wanted:
        return Suspension.NONE
    started = status.stage is not None
    # A kill after the scale-down and before the status write leaves "Unknown" and no coordinator,
    # which could never report `drained`.
    gone = not coordinator_replicas
    stored = _memory(status)
    # `Released` stays: pods that were released have nothing to drain.
    if stored == "True" or gone or not started:
        return Suspension.RELEASED
    if stored == "Unknown":
        drained = state is not None and state.drained
        # A coordinator that can't be reached must not keep the pods forever.
        overdue = now - _since(status) >= timeout
        return Suspension.RELEASED if drained or overdue else Suspension.DRAINING
    return Suspension.DRAINING


def resumes(wanted: bool, status: Status) -> bool:
    """Whether pods that were released come back: the trainer then begins a new attempt."""
    return not wanted and _memory(status) == "True"


def _memory(status: Status) -> str:
    found = condition(status, "Suspended")
    return found.status if found else "False"


def _since(status: Status) -> float:
    found = condition(status, "Suspended")
    assert found is not None
    return datetime.fromisoformat(found.last_transition_time).timestamp()


def remembered(status: Status) -> Suspension:
    """The phase that the status reported last, for a pass that changes nothing."""
    kept = {"True": Suspension.RELEASED, "Unknown": Suspension.DRAINING}
    return kept.get(_memory(status), Suspension.NONE)
