"""Kubernetes Events about what changed between two statuses; for people, never read by us."""

from dataclasses import dataclass
from typing import Any

from sea_api.v1alpha1.job import GROUP, KIND, VERSION
from sea_api.v1alpha1.status import Status
from sea_operator.observed import Job
from sea_operator.policies.terminal import condition
from sea_operator.status import rfc3339

TOLD = ("Stalled", "Suspended", "Complete", "Failed")
WARNINGS = frozenset({"Stalled", "Failed"})


@dataclass(frozen=True)
class Event:
    """One line of `kubectl describe`."""

    reason: str
    message: str
    warning: bool = False


def between(old: Status, new: Status) -> tuple[Event, ...]:
    """What is worth telling, in the order of the conditions."""
    return (*_conditions(old, new), *_stage(old, new), *_restart(old, new))


def body(job: Job, event: Event, identity: str, now: float) -> dict[str, Any]:
    """The core/v1 Event to create."""
    about = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "name": job.name,
        "namespace": job.namespace,
        "uid": job.uid,
    }
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{job.name}.", "namespace": job.namespace},
        "involvedObject": about,
        "reason": event.reason,
        "message": event.message[:1024],
        "type": "Warning" if event.warning else "Normal",
        "source": {"component": "sea-operator", "host": identity},
        "firstTimestamp": rfc3339(now),
        "lastTimestamp": rfc3339(now),
        "count": 1,
    }


def _conditions(old: Status, new: Status) -> list[Event]:
    pairs = ((kind, condition(old, kind), condition(new, kind)) for kind in TOLD)
    return [
        Event(after.reason, after.message, kind in WARNINGS)
        for kind, before, after in pairs
        if after is not None
        and after.status != "False"
        and (before is None or (before.status, before.reason) != (after.status, after.reason))
    ]


def _stage(old: Status, new: Status) -> list[Event]:
    if new.stage is None or new.stage == old.stage:
        return []
    return [Event("StageStarted", f"Stage {new.stage} begins.")]


def _restart(old: Status, new: Status) -> list[Event]:
    failure = new.last_failure
    if (
        failure is None
        or new.trainer_attempt in (None, old.trainer_attempt)
        or failure == old.last_failure
    ):
        return []
    message = f"{failure.cause} of {failure.role}: {failure.message}"
    return [Event("NewAttempt", f"Attempt {new.trainer_attempt} begins. {message}", True)]
