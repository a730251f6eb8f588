"""The message that tells a job's coordinator what to do (`PUT /v1/spec`). Pure.

Its digest says whether it is news: the coordinator reports the digest of the one that it has.
"""

import hashlib

import orjson

from sea_api.v1alpha1.job import Spec
from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_operator.observed import Job


def run_url(job: Job, spec: Spec) -> str:
    """Root of everything this run writes; the uid keeps a successor of the same name apart."""
    return f"{spec.storage.url.rstrip('/')}/{job.name}-{job.uid[:8]}"


def coordinator_spec(
    job: Job, spec: Spec, *, stage_index: int, attempt: int, drain: bool
) -> CoordinatorSpec:
    """The whole message; its digest covers everything but the digest."""
    undigested = CoordinatorSpec(
        digest="",
        job=job.name,
        uid=job.uid,
        spec_generation=job.generation,
        spec=spec,
        stage_index=stage_index,
        attempt=attempt,
        drain=drain,
        run_url=run_url(job, spec),
    )
    return undigested.model_copy(update={"digest": digest(undigested)})


def digest(message: CoordinatorSpec) -> str:
    """SHA-256 of the message in a canonical form."""
    # Sorted keys: equal messages have equal digests, whatever the order of fields.
    content = message.model_dump(mode="json", by_alias=True, exclude={"digest"})
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
