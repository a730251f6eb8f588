"""Writes the status, once per pass and only if it changed, then Events about the change.

Events are for people and are never read by the operator.
"""

import logging
from dataclasses import dataclass
from typing import Any

from sea_api.redaction import redacted
from sea_api.v1alpha1.job import GROUP, KIND, VERSION
from sea_api.v1alpha1.status import Status
from sea_operator.cache import Cache
from sea_operator.errors import KubeError
from sea_operator.kube.client import EVENT, JOB, KubeClient
from sea_operator.observed import Job
from sea_operator.policies.conditions import ROUTINE
from sea_operator.policies.phase import condition
from sea_operator.status import rfc3339

log = logging.getLogger(__name__)


REPORTED = ("Reconciling", "Stalled", "Suspended", "Complete", "Failed")
WARNINGS = frozenset({"Reconciling", "Stalled", "Failed"})


@dataclass(frozen=True)
class Event:
    """One line of `kubectl describe`."""

    reason: str
    message: str
    warning: bool = False


async def report(
    client: KubeClient, cache: Cache, job: Job, status: Status, *, identity: str, now: float
) -> bool:
    """Whether a write was due. Raises `ConflictError` if somebody else wrote since the read."""
    # Here all messages enter the status and Events, wherever they come from.
    status = without_credentials(status)
    # Without None: server-side apply removes the fields that our manager owns and no longer sends.
    wanted = status.model_dump(by_alias=True, exclude_none=True, mode="json")
    if wanted == job.stored_status:
        return False
    # The resourceVersion in the body makes a pass on a late view fail here, with a conflict.
    cache.wrote(JOB, await client.apply(JOB, _body(job, wanted), sub="status"))
    # After the write: an Event about a change that wasn't stored would be repeated.
    for event in between(job.status, status):
        await _create(client, job, event, identity, now)
    return True


def without_credentials(status: Status) -> Status:
    """The status whose messages hold no header, key or signature."""
    told = [one.model_copy(update={"message": redacted(one.message)}) for one in status.conditions]
    failure = status.last_failure
    if failure is not None:
        failure = failure.model_copy(update={"message": redacted(failure.message)})
    return status.model_copy(update={"conditions": told, "last_failure": failure})


def _body(job: Job, status: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "metadata": {
            "name": job.name,
            "namespace": job.namespace,
            "uid": job.uid,
            "resourceVersion": job.resource_version,
        },
        "status": status,
    }


async def _create(client: KubeClient, job: Job, event: Event, identity: str, now: float) -> None:
    """Creates an Event; a failure is only logged, since no decision depends on Events."""
    log.info("event", extra={"job": f"{job.namespace}/{job.name}", "reason": event.reason})
    try:
        body = event_body(job, event, identity, now)
        await client.create(EVENT, job.namespace, body)
    except KubeError as error:
        log.warning("event not written: %s", error)


def between(old: Status, new: Status) -> tuple[Event, ...]:
    """Events about the differences, in the order of the conditions."""
    return (
        *_conditions(old, new),
        *_stage(old, new),
        *_edit(old, new),
        *_restart(old, new),
    )


def event_body(job: Job, event: Event, identity: str, now: float) -> dict[str, Any]:
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
        # The bound of `note` in events.k8s.io, which serves the same objects.
        "message": event.message[:1024],
        "type": "Warning" if event.warning else "Normal",
        "source": {"component": "sea-operator", "host": identity},
        "firstTimestamp": rfc3339(now),
        "lastTimestamp": rfc3339(now),
        "count": 1,
    }


def _conditions(old: Status, new: Status) -> list[Event]:
    pairs = ((kind, condition(old, kind), condition(new, kind)) for kind in REPORTED)
    return [
        Event(after.reason, after.message, kind in WARNINGS)
        for kind, before, after in pairs
        if after is not None
        and after.status != "False"
        and (kind != "Reconciling" or after.reason not in ROUTINE)
        and (before is None or (before.status, before.reason) != (after.status, after.reason))
    ]


def _stage(old: Status, new: Status) -> list[Event]:
    if new.stage is None or new.stage == old.stage:
        return []
    return [Event("StageStarted", f"Stage {new.stage} begins.")]


def _edit(old: Status, new: Status) -> list[Event]:
    edit = new.last_edit
    if edit is None or edit == old.last_edit:
        return []
    return [Event("SpecEdited", f"Generation {edit.generation}: {edit.message}")]


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
