"""Suspend and resume: drain, release the pods, and start anew later.

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
    """How far the job is on its way to having no pods.

    Draining ends when the coordinator says so, after `timeout` seconds, or at once where nothing
    ever ran. The coordinator goes last, so no coordinator means that it ended.
    """
    if not wanted:
        return Suspension.NONE
    started = status.stage is not None
    gone = not coordinator_replicas
    told = _memory(status)
    if told == "True" or gone or not started:
        return Suspension.RELEASED
    if told == "Unknown":
        drained = state is not None and state.drained
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
    """What the status said last, for a pass that leaves everything as it is."""
    kept = {"True": Suspension.RELEASED, "Unknown": Suspension.DRAINING}
    return kept.get(_memory(status), Suspension.NONE)
