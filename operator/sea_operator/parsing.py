"""Parses what the API server stores into what the policies read. Pure."""

from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import ValidationError

from sea_api import lenient
from sea_api.findings import findings
from sea_api.v1alpha1.job import KIND, Spec
from sea_api.v1alpha1.names import MANAGER
from sea_api.v1alpha1.status import Status
from sea_operator.observed import Child, Job
from sea_operator.spec_warnings import ANNOTATION, dropped

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
    stored = live.get("status", {})
    spec, invalid, ignored, broken = (
        (before.spec, before.invalid, before.ignored_spec, before.broken_rules)
        if before and same
        else _spec(live.get("spec", {}), began="startTime" in stored)
    )
    status, foreign = _status(stored)
    applied, fields = _applied(meta, before)
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
        broken_rules=broken,
        foreign=foreign,
        deleting="deletionTimestamp" in meta,
        finalizers=tuple(meta.get("finalizers", ())),
        applied=applied,
        dropped=fields,
        # From the stored object: a spec that can't be read may be another controller's too.
        managed_by=str(live.get("spec", {}).get("managedBy", MANAGER)),
    )


def _applied(meta: Object, before: Job | None) -> tuple[int, tuple[str, ...]]:
    text = meta.get("annotations", {}).get(ANNOTATION)
    # The text itself isn't kept: thousands of jobs would double the memory.
    digest = hash(text)
    if before is not None and before.applied == digest:
        return digest, before.dropped
    return digest, dropped(text)


def child(live: Object) -> Child:
    """A StatefulSet or Service; its status is its controller's and isn't kept."""
    meta = {key: value for key, value in live["metadata"].items() if key not in IGNORED}
    kept = {key: value for key, value in live.items() if key not in ("status", "metadata")}
    jobs = tuple(
        (str(owner["name"]), str(owner["uid"]))
        for owner in meta.get("ownerReferences", ())
        if owner.get("kind") == KIND
    )
    return Child(meta["uid"], orjson.dumps({**kept, "metadata": meta}), jobs)


def explain(error: ValidationError) -> str:
    """Pydantic's findings as one sentence that names fields as the user wrote them."""
    found = sentences(error)
    more = len(found) - MAX_FINDINGS
    tail = f"; and {more} more" if more > 0 else ""
    return f"The job can't be read: {'; '.join(found[:MAX_FINDINGS])}{tail}. Edit the job."


def sentences(error: ValidationError) -> list[str]:
    """One per finding, with the field as the user wrote it."""
    details = error.errors(include_url=False)
    return [str(one) for detail in details for one in findings(detail, ("spec",))]


def _spec(
    stored: Object, *, began: bool
) -> tuple[Spec | None, str | None, tuple[str, ...], tuple[str, ...]]:
    """The spec or why there is none, the fields that only another release knows, broken rules.

    `began`: the job has had pods. One that an earlier release has run goes on although a rule of
    this one refuses it; one that hasn't begun waits for an edit before it costs GPUs.
    """
    try:
        found = (lenient.read_admitted if began else lenient.read)(Spec, stored)
    except ValidationError as error:
        # Fields of another release are no mistake of the user's, unless they explain the others.
        return None, explain(error), (), ()
    ignored = tuple(lenient.text(("spec", *path)) for path in found.ignored)
    return found.value, None, ignored, tuple(sentences(found.broken) if found.broken else ())


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
