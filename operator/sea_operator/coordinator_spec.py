"""The message that tells a job's coordinator what to do (`PUT /v1/spec`). Pure.

Its digest says whether it is news: the coordinator reports the digest of the one that it has.
"""

import functools
import hashlib
from collections.abc import Mapping

import orjson

from sea_api import lenient
from sea_api.contract import ROLES, role_label
from sea_api.redaction import without_secret_values
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.pods import PodTemplate
from sea_api.wire.coordinator_spec import CoordinatorSpec, NodeGpu, RollbackOrder
from sea_operator.observed import Job, Observed, Same
from sea_operator.pods import Pod

MAX_IMAGE = 1024
"""Bound of an image in the CRD."""


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
    rollback: RollbackOrder | None = None,
    gpus: Mapping[str, NodeGpu] | None = None,
    images: Mapping[str, str] | None = None,
) -> CoordinatorSpec:
    """The whole message; its digest covers everything but the digest."""
    return _message(
        Same(spec),
        (job.name, job.uid, job.generation, run_url(job, spec)),
        (stage_index, attempt, drain, trainer_size, trainer_pods, rollback),
        tuple((gpus or {}).items()),
        tuple((images or {}).items()),
    )


# A pass asks twice for the same one: what the coordinator should have, and what it has checked.
@functools.lru_cache(maxsize=256)
def _message(
    spec: Same[Spec],
    about: tuple[str, str, int, str],
    now: tuple[int, int, bool, int | None, int | None, RollbackOrder | None],
    gpus: tuple[tuple[str, NodeGpu], ...],
    images: tuple[tuple[str, str], ...],
) -> CoordinatorSpec:
    name, uid, generation, root = about
    stage_index, attempt, drain, trainer_size, trainer_pods, rollback = now
    undigested = CoordinatorSpec(
        digest="",
        job=name,
        uid=uid,
        spec_generation=generation,
        spec=_without_secrets(spec.value),
        stage_index=stage_index,
        attempt=attempt,
        trainer_size=trainer_size,
        trainer_pods=trainer_pods,
        drain=drain,
        rollback=rollback,
        gpus=dict(gpus),
        images=dict(images),
        run_url=root,
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
    if shown == stored:
        return template
    # A job that another release admitted may break a rule of this one.
    return lenient.read_admitted(PodTemplate, shown).value


def digest(message: CoordinatorSpec) -> str:
    """SHA-256 of the message in a canonical form."""
    # Sorted keys: equal messages have equal digests, whatever the order of fields.
    content = message.model_dump(mode="json", by_alias=True, exclude={"digest"})
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


def run_images(observed: Observed) -> Mapping[str, str]:
    """Images that really ran, by digest: what a tag meant on the day of the run.

    By role: of its newest pod that runs, else what the status remembers.

    Engines' workers usually have the engine's image; one of another has an entry `ROLE-worker`.
    """
    found = dict(observed.job.status.images or {})
    for role in ROLES:
        # By name where several were made in the same second: another order would be another status.
        pods = sorted(observed.of_role(role), key=lambda pod: (pod.created, pod.name))
        newest = next((pod for pod in reversed(pods) if pod.images), None)
        if newest is not None:
            found.pop(f"{role_label(role)}-worker", None)
            found |= _images_of(role_label(role), newest)
    return found


def _images_of(role: str, pod: Pod) -> dict[str, str]:
    by_container = {name: image[:MAX_IMAGE] for name, image in pod.images}
    worker = by_container.pop("worker", None)
    main = next(iter(by_container.values()), None)
    found = {role: main} if main else {}
    return found | ({f"{role}-worker": worker} if worker and main and worker != main else {})
