"""Writes the status, once a pass and only if it changed, and then the Events about the change."""

import logging
from typing import Any

from sea_api.v1alpha1.job import GROUP, KIND, VERSION
from sea_api.v1alpha1.status import Status
from sea_operator import events
from sea_operator.cache import Cache
from sea_operator.errors import KubeError
from sea_operator.kube.client import KubeClient
from sea_operator.kube.kinds import EVENT, JOB
from sea_operator.observed import Job

log = logging.getLogger(__name__)


async def report(
    client: KubeClient, cache: Cache, job: Job, status: Status, *, identity: str, now: float
) -> bool:
    """Whether a write was due. Raises `ConflictError` if somebody else wrote since the read."""
    wanted = status.model_dump(by_alias=True, exclude_none=True, mode="json")
    if wanted == job.stored_status:
        return False
    # The resourceVersion in the body makes a pass on a late view fail here, with a conflict.
    cache.wrote(JOB, await client.apply(JOB, _body(job, wanted), sub="status"))
    for event in events.between(job.status, status):
        await _tell(client, job, event, identity, now)
    return True


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


async def _tell(
    client: KubeClient, job: Job, event: events.Event, identity: str, now: float
) -> None:
    """An Event that can't be written is logged: no decision hangs on it."""
    log.info("event", extra={"job": f"{job.namespace}/{job.name}", "reason": event.reason})
    try:
        body = events.body(job, event, identity, now)
        await client.create(EVENT, job.namespace, body)
    except KubeError as error:
        log.warning("event not written: %s", error)
