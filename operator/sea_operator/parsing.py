"""Parses what the API server stores into what the policies read. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson
from pydantic import ValidationError

from sea_api import lenient
from sea_api.contract import SECRETS_ANNOTATION
from sea_api.findings import findings
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.names import MANAGER
from sea_api.v1alpha1.status import Status
from sea_operator.observed import Child, Job, Pod, Termination, role_of, template_hash_of

Object = Mapping[str, Any]


MAX_FINDINGS = 5
"""Findings that a sentence about an unreadable job names."""

IGNORED = frozenset({"managedFields", "resourceVersion", "generation", "creationTimestamp"})
"""Metadata that changes with each write of anybody and that no policy reads."""


def job(live: Object, before: Job | None = None) -> Job:
    """A stored SEATrainingJob; an invalid spec becomes a sentence, never an exception.

    `before`: the same job as parsed last; its spec is kept while the generation stands still.
    """
    meta = live["metadata"]
    # Most versions of a job are status writes: the spec needn't be validated again.
    same = before is not None and (before.uid, before.generation) == (
        meta["uid"],
        int(meta["generation"]),
    )
    spec, invalid, ignored = (
        (before.spec, before.invalid, before.ignored_spec)
        if before and same
        else _spec(live.get("spec", {}))
    )
    stored = live.get("status", {})
    status, foreign = _status(stored)
    return Job(
        name=meta["name"],
        namespace=meta["namespace"],
        uid=meta["uid"],
        generation=int(meta["generation"]),
        resource_version=meta["resourceVersion"],
        spec=spec,
        status=status,
        invalid=invalid,
        stored_status=stored,
        ignored_spec=ignored,
        foreign=foreign,
        deleting="deletionTimestamp" in meta,
        # From the stored object: a spec that can't be read may be another controller's too.
        managed_by=str(live.get("spec", {}).get("managedBy", MANAGER)),
    )


def child(live: Object) -> Child:
    """A StatefulSet or Service; its status is its controller's and isn't kept."""
    meta = {key: value for key, value in live["metadata"].items() if key not in IGNORED}
    kept = {key: value for key, value in live.items() if key not in ("status", "metadata")}
    return Child(meta["uid"], orjson.dumps({**kept, "metadata": meta}))


def pod(live: Object) -> Pod:
    """A pod of a job."""
    meta, status = live["metadata"], live.get("status", {})
    labels = meta.get("labels", {})
    return Pod(
        name=meta["name"],
        uid=meta["uid"],
        role=role_of(labels),
        template_hash=template_hash_of(labels),
        ip=status.get("podIP"),
        ready=_has(status, "Ready"),
        created=_time(meta["creationTimestamp"]),
        node=live.get("spec", {}).get("nodeName"),
        secrets_digest=meta.get("annotations", {}).get(SECRETS_ANNOTATION),
        # The API server sets it to the end of the grace period, not to the time of the request.
        deleted=_time(meta["deletionTimestamp"]) if "deletionTimestamp" in meta else None,
        # The condition covers preemption, drains and taints; `Evicted` is what the kubelet
        # sets under node pressure.
        disrupted=_has(status, "DisruptionTarget") or status.get("reason") == "Evicted",
        terminations=tuple(_terminations(status)),
        waiting=waiting(status),
    )


ON_ITS_WAY = frozenset({"ContainerCreating", "PodInitializing"})
"""Reasons of a container that is starting normally."""


def waiting(status: Object) -> str:
    """Why a pod can't run, from its status; empty if nothing is wrong."""
    for found in status.get("conditions", []):
        if (found["type"], found["status"]) == ("PodScheduled", "False"):
            return f"{found.get('reason', 'Unschedulable')}: {found.get('message', '')}"
    for container in status.get("containerStatuses", []):
        state = container.get("state", {}).get("waiting") or {}
        if state.get("reason") and state["reason"] not in ON_ITS_WAY:
            return f"container {container['name']}: {_stuck(container, state)}"
    return ""


def _stuck(container: Object, state: Object) -> str:
    """A crash is described by its exit code: the kubelet's message counts seconds, and changes."""
    ends = _ends(container)
    if ends:
        return f"{state['reason']}, it ended with exit code {ends[0]['exitCode']}"
    return f"{state['reason']}: {state.get('message', '')}"


def is_dead(node: Object) -> bool:
    """Whether a node's kubelet has stopped talking to the control plane."""
    # Unknown counts as dead: the node controller sets it when the kubelet stops renewing.
    return not _has(node.get("status", {}), "Ready")


def event_time(event: Object) -> float:
    """When something last happened again, in unix seconds."""
    times = (event.get("lastTimestamp"), event.get("eventTime"))
    return _time(next((time for time in times if time), event["metadata"]["creationTimestamp"]))


def explain(error: ValidationError) -> str:
    """Pydantic's findings as one sentence that names fields as the user wrote them."""
    details = error.errors(include_url=False)
    found = [str(one) for detail in details for one in findings(detail, ("spec",))]
    more = len(found) - MAX_FINDINGS
    tail = f"; and {more} more" if more > 0 else ""
    return f"The job can't be read: {'; '.join(found[:MAX_FINDINGS])}{tail}. Edit the job."


def _spec(stored: Object) -> tuple[Spec | None, str | None, tuple[str, ...]]:
    """The spec or why there is none, and the fields that only another release knows."""
    try:
        found = lenient.read(Spec, stored)
    except ValidationError as error:
        # Fields of another release are no mistake of the user's, unless they explain the others.
        return None, explain(error), ()
    return found.value, None, tuple(lenient.text(("spec", *path)) for path in found.ignored)


def _status(stored: Object) -> tuple[Status, frozenset[lenient.Path]]:
    """The stored status, without fields of other releases that this one can't read; their paths.

    Dropping the whole status instead would start a complete job again.
    """
    try:
        found = lenient.read(Status, stored)
    except ValidationError as error:
        # Of any other finding the whole field goes: half a field could mean something else.
        broken = {detail["loc"][:1] for detail in error.errors(include_url=False)}
        found = lenient.read(Status, lenient.without(stored, tuple(broken)))
    return found.value, frozenset(found.ignored)


def _has(status: Object, condition: str) -> bool:
    return any(
        found["type"] == condition and found["status"] == "True"
        for found in status.get("conditions", [])
    )


def _terminations(status: Object) -> list[Termination]:
    return [
        Termination(
            container["name"],
            int(ended["exitCode"]),
            ended.get("reason", ""),
            ended.get("message", ""),
        )
        for container in status.get("containerStatuses", [])
        for ended in _ends(container)
    ]


def _ends(container: Object) -> list[Object]:
    """The newest end of a container, of its current or its last run."""
    states = (container.get("state", {}), container.get("lastState", {}))
    # `state` first: a container that ended twice has both.
    return [state["terminated"] for state in states if "terminated" in state][:1]


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
