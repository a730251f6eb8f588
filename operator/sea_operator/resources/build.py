"""All objects that a job should have now: four roles at most, each a Service and a StatefulSet.

Pure functions from the spec to Kubernetes objects; nothing is copied from the job's metadata.
"""

import base64
import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sea_api.contract import (
    COORDINATOR_PORT,
    ENGINE_PORT,
    HASH_LABEL,
    JOB_LABEL,
    SECRETS_ANNOTATION,
    TRAINER_HEALTH_PORT,
    WORKER_PORT,
    auth_secret,
    labels,
    role_name,
    selected_by,
)
from sea_api.v1alpha1.job import GROUP, KIND, VERSION, Spec
from sea_api.v1alpha1.pod_patch import PodPatch
from sea_api.v1alpha1.policy import Role
from sea_operator.observed import Job, Same
from sea_operator.resources.patch import PatchRefusedError
from sea_operator.resources.role_settings import FIELDS, edited, roles, template_of
from sea_operator.resources.roles import (
    coordinator_claims,
    coordinator_template,
    engine_template,
    trainer_template,
)
from sea_operator.settings import Images

Object = dict[str, Any]

PORTS: dict[Role, dict[str, int]] = {
    Role.COORDINATOR: {"http": COORDINATOR_PORT},
    Role.TRAINER: {"health": TRAINER_HEALTH_PORT},
    Role.ROLLOUT: {"engine": ENGINE_PORT, "worker": WORKER_PORT},
    Role.USER: {"engine": ENGINE_PORT, "worker": WORKER_PORT},
}
EMPTY: Object = {"metadata": {"labels": {}, "annotations": {}}, "spec": {"containers": []}}
"""In place of a pod template that isn't made."""
TOKEN_KEY = "token"  # noqa: S105 - a name, not a secret


def objects(
    job: Job,
    spec: Spec,
    replicas: Mapping[Role, int],
    images: Images,
    token_digest: str,
    secret_digests: Mapping[Role, str],
    working: Mapping[Role, int] | None = None,
    untemplated: frozenset[Role] = frozenset(),
) -> list[Object]:
    """Services first, so that names resolve once pods start.

    All passes with these arguments share them: don't change them. Raises `PatchRefusedError`.

    Args:
        secret_digests: of the Secrets that each role's pods are started with.
        working: pods that each role works with, where they are fewer than its StatefulSet asks for.
        untemplated: roles whose pods can't be made from the spec now: their StatefulSets have an
            empty template, in whose place the caller puts the live one (`policies/updates.kept`).
    """
    inputs = _Inputs(
        job,
        (job.namespace, job.name, job.uid),
        Same(spec),
        images,
        tuple(replicas.items()),
        token_digest,
        tuple(secret_digests.items()),
        (working or replicas).get(Role.TRAINER, 0),
        untemplated,
    )
    return list(_made(inputs))


def refused_patches(job: Job, spec: Spec, images: Images) -> Mapping[Role, str]:
    """Why roles' patches can't be merged into their pod templates, a sentence each."""
    if not _patched_roles(Same(spec)):
        return {}  # asked three times per pass, of jobs that hardly ever have a patch
    return _refused(_inputs(job, spec, images))


def unpatched_hash(job: Job, spec: Spec, role: Role, images: Images) -> str:
    """Hash of a role's pod template without the user's patch, and without the job's token."""
    plain = template_of(spec, role).model_copy(update={"patch": PodPatch()})
    made = _template(_inputs(job, edited(spec, role, template=plain), images), role)
    return str(made["metadata"]["labels"][HASH_LABEL])


@dataclass(frozen=True)
class _Inputs:
    """All that the objects of a job are made from."""

    job: Job = field(compare=False)
    """Of which nothing but `identity` is read: its status changes all the time."""
    identity: tuple[str, str, str]
    spec: Same[Spec]
    images: Images
    replicas: tuple[tuple[Role, int], ...] = ()
    token_digest: str = ""
    secret_digests: tuple[tuple[Role, str], ...] = ()
    trainer: int = 0
    """Pods that hold ranks."""
    untemplated: frozenset[Role] = frozenset()


def _inputs(job: Job, spec: Spec, images: Images) -> _Inputs:
    return _Inputs(job, (job.namespace, job.name, job.uid), Same(spec), images)


# A job that starts has several passes within seconds, and hundreds may start together.
@functools.lru_cache(maxsize=256)
def _made(inputs: _Inputs) -> tuple[Object, ...]:
    job, spec, secrets = inputs.job, inputs.spec.value, dict(inputs.secret_digests)
    services = [service(job, role) for role, _ in inputs.replicas]
    sets = [
        stateful_set(
            job,
            role,
            size,
            _noting(
                EMPTY if role in inputs.untemplated else _template(inputs, role), secrets.get(role)
            ),
            coordinator_claims(spec) if role is Role.COORDINATOR else None,
        )
        for role, size in inputs.replicas
    ]
    return (*services, *sets, disruption_budget(job, inputs.trainer))


@functools.lru_cache(maxsize=1024)
def _patched_roles(same: Same[Spec]) -> tuple[Role, ...]:
    spec, none = same.value, PodPatch()
    return tuple(role for role in roles(spec) if template_of(spec, role).patch != none)


@functools.lru_cache(maxsize=1024)
def _refused(inputs: _Inputs) -> Mapping[Role, str]:
    found = dict[Role, str]()
    for role in _patched_roles(inputs.spec):
        try:
            _template(inputs, role)
        except PatchRefusedError as error:
            found[role] = str(error)
    return found


def _template(inputs: _Inputs, role: Role) -> Object:
    job, spec, images = inputs.job, inputs.spec.value, inputs.images
    try:
        if role is Role.COORDINATOR:
            return coordinator_template(job, spec, images.coordinator, inputs.token_digest)
        if role is Role.TRAINER:
            return trainer_template(job, spec, images.trainer, inputs.token_digest)
        return engine_template(job, spec, role, images.rollout, inputs.token_digest)
    except PatchRefusedError as error:
        raise PatchRefusedError(f"spec.{FIELDS[role]}.template.patch.{error}") from error


def _noting(template: Object, secrets_digest: str | None) -> Object:
    """The template with the digest of its Secrets.

    Not part of the template's own hash: a change of it alone replaces no pod
    (`policies/secret_rotation.py`).
    """
    if secrets_digest is None:
        return template
    meta = template["metadata"]
    annotations = {**meta["annotations"], SECRETS_ANNOTATION: secrets_digest}
    return {**template, "metadata": {**meta, "annotations": annotations}}


def stateful_set(
    job: Job, role: Role, replicas: int, template: Object, claims: list[Object] | None = None
) -> Object:
    """Desired StatefulSet; its claims, if any, vanish with it."""
    name = role_name(job.name, role)
    spec: Object = {
        "replicas": replicas,
        "serviceName": name,
        # The trainer's ranks wait for each other: OrderedReady would start the second pod
        # only once the first is Ready.
        "podManagementPolicy": "Parallel",
        # `policies/drift.py` decides which pods are replaced, and when.
        "updateStrategy": {"type": "OnDelete"},
        "selector": {"matchLabels": selected_by(job.name, role)},
        "template": template,
    }
    if claims:
        spec["volumeClaimTemplates"] = claims
        # Retained at scale 0: a suspended job resumes with its ledger.
        retention = {"whenDeleted": "Delete", "whenScaled": "Retain"}
        spec["persistentVolumeClaimRetentionPolicy"] = retention
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata(job, name, role),
        "spec": spec,
    }


def service(job: Job, role: Role) -> Object:
    """Desired Service, named as the role's StatefulSet."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(job, role_name(job.name, role), role),
        "spec": {
            "clusterIP": "None",
            # Pods resolve the coordinator's name before the coordinator is Ready.
            "publishNotReadyAddresses": True,
            "selector": selected_by(job.name, role),
            "ports": [_port(name, number) for name, number in PORTS[role].items()],
        },
    }


def disruption_budget(job: Job, trainer: int) -> Object:
    """Lets evictions take one trainer pod at a time, and none while the attempt restarts.

    A first one costs a checkpoint and a restart; a second one, which the restart has to wait for
    again, costs as much once more. Spares of an elastic trainer are never Ready and don't count:
    `trainer` is the number of pods that hold ranks, and others may go at any time.
    """
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(job, role_name(job.name, Role.TRAINER), Role.TRAINER),
        "spec": {
            # A number, not `maxUnavailable`, which would count spares as unavailable forever.
            "minAvailable": max(0, trainer - 1),
            "selector": {"matchLabels": selected_by(job.name, Role.TRAINER)},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


def _port(name: str, number: int) -> Object:
    return {"name": name, "port": number, "protocol": "TCP", "targetPort": number}


def metadata(job: Job, name: str, role: Role | None) -> Object:
    """`role` None: an object of the job as a whole."""
    own = {JOB_LABEL: job.name, "app.kubernetes.io/managed-by": "sea-operator"}
    return {
        "name": name,
        "namespace": job.namespace,
        "labels": labels(job.name, role) if role else own,
        "ownerReferences": [owner(job)],
    }


def owner(job: Job) -> Object:
    """The reference that lets the garbage collector take the child with its job."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "name": job.name,
        "uid": job.uid,
        "controller": True,
        # True needs `update` on finalizers where OwnerReferencesPermissionEnforcement is on.
        "blockOwnerDeletion": False,
    }


def token_secret(job: Job, token: str) -> Object:
    """The Secret with the token that the job's pods and the operator know each other by.

    Made once with `create`, never applied again: a pass must not rotate what running pods hold.
    """
    encoded = base64.b64encode(token.encode()).decode()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(job, auth_secret(job.name), None),
        "type": "Opaque",
        "data": {TOKEN_KEY: encoded},
    }


def token_of(secret: dict[str, Any]) -> str | None:
    """The token of a live Secret, None if it holds none."""
    encoded = secret.get("data", {}).get(TOKEN_KEY)
    return base64.b64decode(encoded).decode(errors="replace") if encoded else None


def token_digest(token: str) -> str:
    """What may be seen of a token: enough to notice that it changed."""
    return hashlib.sha256(token.encode()).hexdigest()[:12]
