"""The message that tells a job's coordinator what to do (`PUT /v1/spec`). Pure.

Its digest says whether it is news: the coordinator reports the digest of the one that it has.
"""

import hashlib
from collections.abc import Mapping

import orjson

from sea_api.redaction import without_secret_values
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.pods import PodTemplate
from sea_api.wire.coordinator_spec import CoordinatorSpec, NodeGpu
from sea_operator.observed import Job


def run_url(job: Job, spec: Spec) -> str:
    """Root of everything this run writes; the uid keeps a successor of the same name apart."""
    return f"{spec.storage.url.rstrip('/')}/{job.name}-{job.uid[:8]}"


def coordinator_spec(
    job: Job,
    spec: Spec,
    *,
    stage_index: int,
    attempt: int,
    drain: bool,
    trainer_size: int | None = None,
    trainer_pods: int | None = None,
    gpus: Mapping[str, NodeGpu] | None = None,
    images: Mapping[str, str] | None = None,
) -> CoordinatorSpec:
    """The whole message; its digest covers everything but the digest."""
    undigested = CoordinatorSpec(
        digest="",
        job=job.name,
        uid=job.uid,
        spec_generation=job.generation,
        spec=_without_secrets(spec),
        stage_index=stage_index,
        attempt=attempt,
        trainer_size=trainer_size,
        trainer_pods=trainer_pods,
        drain=drain,
        gpus=dict(gpus or {}),
        images=dict(images or {}),
        run_url=run_url(job, spec),
    )
    return undigested.model_copy(update={"digest": digest(undigested)})


def _without_secrets(spec: Spec) -> Spec:
    """The spec without the values of pods' variables that may be secrets.

    The coordinator has no use for them, and what it knows ends up in the object store: in copies of
    its ledger and in the run's record.
    """
    changed = {}
    for name in ("trainer", "rollout", "user_model", "coordinator"):
        role = getattr(spec, name)
        shown = _hidden(role.template)
        if shown is not role.template:
            changed[name] = role.model_copy(update={"template": shown})
    return spec.model_copy(update=changed) if changed else spec


def _hidden(template: PodTemplate) -> PodTemplate:
    # Most templates have no variables: nothing is encoded for them in every pass.
    patch = template.patch.spec
    if not (template.env or patch.containers or patch.model_extra):
        return template
    stored = template.model_dump(mode="json", by_alias=True, exclude_none=True)
    shown = without_secret_values(stored)
    return template if shown == stored else PodTemplate.model_validate(shown)


def digest(message: CoordinatorSpec) -> str:
    """SHA-256 of the message in a canonical form."""
    # Sorted keys: equal messages have equal digests, whatever the order of fields.
    content = message.model_dump(mode="json", by_alias=True, exclude={"digest"})
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
