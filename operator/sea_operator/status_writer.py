"""Writes the status: at most once per pass, only if it changed, and Events about what is new.

A write that fails keeps nobody from acting: Events and the log say what the status can't, and it is
tried again with a back-off of its own (`action_backoff.py`).
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from annotated_types import MaxLen
from pydantic import BaseModel

from sea_api.lenient import Path
from sea_api.redaction import redacted, redacted_to
from sea_api.v1alpha1.elastic_status import ElasticRole, ElasticStatus
from sea_api.v1alpha1.status import (
    Condition,
    Failure,
    Restarts,
    RollbackRequest,
    SpecEdit,
    Status,
    WeightsStatus,
)
from sea_operator.action_backoff import STATUS, ActionBackoff
from sea_operator.cache import Cache, Key
from sea_operator.errors import (
    ConflictError,
    NotFoundError,
    OperatorError,
    RejectedError,
    UnavailableError,
)
from sea_operator.kube.client import JOB, KubeClient
from sea_operator.observe import Sources, refresh
from sea_operator.observed import Blocker, Job
from sea_operator.report import Event, between, post

M = TypeVar("M", Condition, Failure, SpecEdit, ElasticRole, RollbackRequest, WeightsStatus)

MAX_ATTEMPTS = 10
"""Attempts per write while others change the job's metadata."""


@dataclass(frozen=True)
class Written:
    """A status write that was sent."""

    changed: bool
    """Whether it changed what is stored."""
    dropped: Mapping[str, Any]
    """What of it the API server left out, as a merge patch: fields that the CRD of an older
    release doesn't have."""


class StatusWriter:
    """Statuses of all jobs; `identity` is the source of their Events."""

    def __init__(self, sources: Sources, identity: str) -> None:
        self._sources = sources
        self._identity = identity
        self._told: dict[Key, Status] = {}
        """Statuses that couldn't be written, and whose Events are posted."""
        self._dropped: dict[Key, Mapping[str, Any]] = {}
        """What the API server left out of each job's last write."""

    def forget(self, key: Key) -> None:
        """There is no such job any more."""
        self._told.pop(key, None)
        self._dropped.pop(key, None)

    async def report(
        self, job: Job, status: Status, backoff: ActionBackoff, now: float
    ) -> Written | None:
        """Writes the status if it changed, and Events about what is new.

        A write that fails is tried again by itself; everything else goes on.
        """
        status, key = without_credentials(status), (job.namespace, job.name)
        failed_before = backoff.fails(STATUS)
        found = await backoff.attempt(
            STATUS,
            lambda: self.write(job, status),
            lambda error: _unwritten(job, error),
            (RejectedError, UnavailableError),
        )
        # After the write: an Event about a change that wasn't stored would be repeated.
        events = list(between(self._told.pop(key, job.status), status))
        if backoff.fails(STATUS):
            # The next pass can't tell from what is stored which Events there were.
            self._told[key] = status
            if not failed_before:
                words = redacted(backoff.words(STATUS))
                events.append(Event("StatusNotWritten", words, warning=True))
        elif found is None:
            events = []
        for event in events:
            await post(self._sources.client, job, event, self._identity, now)
        return found

    async def write(self, job: Job, status: Status) -> Written | None:
        """Writes the status; again at once if others only changed the job's metadata meanwhile.

        Raises `KubeError`.
        """
        key = (job.namespace, job.name)
        for attempt in range(MAX_ATTEMPTS):
            try:
                dropped = self._dropped.get(key)
                found = await _patch(
                    self._sources.client, self._sources.cache, job, status, dropped
                )
            except (ConflictError, NotFoundError):
                # The next pass needn't wait for the watch, which may be silent for minutes.
                current = await refresh(self._sources, job)
                view = self._sources.cache.view((job.namespace, job.name))
                if not current or view is None or attempt + 1 == MAX_ATTEMPTS:
                    raise
                # Somebody who annotates the job all the time must not starve its status.
                job = view.job
            else:
                if found:
                    self._dropped[key] = found.dropped
                return found
        raise AssertionError("unreachable")


async def _patch(
    client: KubeClient,
    cache: Cache,
    job: Job,
    status: Status,
    dropped: Mapping[str, Any] | None = None,
) -> Written | None:
    """Writes what of the status changed; None if nothing did.

    `dropped`: of the last write. Sent in every pass it would be a write per second forever.
    Raises `ConflictError` if somebody else wrote since the read.
    """
    wanted = status.model_dump(by_alias=True, exclude_none=True, mode="json")
    changed = changes(job.stored_status, wanted, job.foreign)
    if not changed or changed == dropped:
        return None
    # A merge patch, not an apply: under the CRD of an older release the server drops a field that
    # it doesn't know and takes the rest, where an apply is refused as a whole.
    written = await client.merge(JOB, _body(job, changed), sub="status")
    cache.wrote(JOB, written)
    version = written["metadata"]["resourceVersion"]
    stored = written.get("status", {})
    return Written(version != job.resource_version, changes(stored, wanted, job.foreign))


def without_credentials(status: Status) -> Status:
    """The status whose messages hold no header, key or signature, within the bounds of the CRD.

    All messages pass here on their way into the status and Events, wherever they come from.
    """
    # A kubelet's words about a pod that is missing, and an engine's about what it can't reach.
    elastic, weights = status.elastic, status.weights
    if elastic is not None:
        roles = {name: getattr(elastic, name) for name in ElasticStatus.model_fields}
        elastic = elastic.model_copy(
            update={name: role and _redacted(role) for name, role in roles.items()}
        )
    return status.model_copy(
        update={
            "conditions": [_redacted(one) for one in status.conditions],
            "last_failure": status.last_failure and _redacted(status.last_failure),
            "last_edit": status.last_edit and _redacted(status.last_edit),
            "rollback": status.rollback and _redacted(status.rollback),
            "elastic": elastic,
            "weights": weights and _redacted(weights, "transport"),
        }
    )


def _redacted(said: M, field: str = "message") -> M:
    text: str | None = getattr(said, field)
    if text is None:
        return said
    # The API server refuses the whole status for one text that is too long.
    shown = redacted_to(text, _bound(type(said), field))
    # Hardly any has a secret in it, and copying a model takes longer than looking at its message.
    return said if shown == text else said.model_copy(update={field: shown})


@functools.cache
def _bound(model: type[BaseModel], field: str) -> int:
    """Most characters of a text in the CRD."""
    bounds = model.model_fields[field].metadata
    return next(one.max_length for one in bounds if isinstance(one, MaxLen))


def changes(
    stored: Mapping[str, Any],
    wanted: Mapping[str, Any],
    foreign: frozenset[Path] = frozenset(),
    at: Path = (),
) -> dict[str, Any]:
    """Merge patch that makes `stored` what is `wanted`; empty if it is.

    An object is never replaced by an empty one: its fields are removed, and it stays or goes with
    them. Fields of another release (`foreign`) are left as they are, for when it comes back.
    """
    # None removes a field.
    patch: dict[str, Any] = {
        key: None for key in stored if key not in wanted and (*at, key) not in foreign
    }
    for key, value in wanted.items():
        old = stored.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            if inner := changes(old, value, foreign, (*at, key)):
                patch[key] = inner
        elif old != value:
            patch[key] = value
    return patch


def _body(job: Job, changed: dict[str, Any]) -> dict[str, Any]:
    # The resourceVersion makes a pass on a late view fail here, with a conflict.
    meta = {
        "name": job.name,
        "namespace": job.namespace,
        "resourceVersion": job.resource_version,
    }
    return {"metadata": meta, "status": changed}


def is_recorded(stored: Status, status: Status) -> bool:
    """Whether attempt, fences and restarts that a pass decided on were in the status before.

    If its write fails, what it would have announced must wait, and everything else needn't.
    """
    return _announced(stored) == _announced(status)


def _announced(status: Status) -> tuple[object, ...]:
    return (status.trainer_attempt or 1, status.fenced, status.restarts or Restarts())


def _unwritten(job: Job, error: OperatorError) -> Blocker:
    return Blocker(
        "StatusNotWritten",
        f"The status of {job.namespace}/{job.name} can't be written, so it shows what was before: "
        f"{error} It is tried again; everything else goes on.",
        transient=True,
    )
