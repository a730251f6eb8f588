"""All objects that a job should have now: four roles at most, each a Service and a StatefulSet."""

from collections.abc import Mapping
from typing import Any

from sea_api.contract import ROLES
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.policy import Role
from sea_api.v1alpha1.roles import UserEngine
from sea_operator.children import coordinator, engine, trainer
from sea_operator.children.service import service
from sea_operator.children.stateful_set import stateful_set
from sea_operator.observed import Job
from sea_operator.settings import Images

Object = dict[str, Any]


def roles(spec: Spec) -> tuple[Role, ...]:
    """Roles of a job, the coordinator first; a user model only where an engine serves it."""
    has_user = spec.user_model.engine is UserEngine.VLLM
    return tuple(role for role in ROLES if role is not Role.USER or has_user)


def full_size(spec: Spec) -> dict[Role, int]:
    """Pods of each role of a running job."""
    sizes = {
        Role.COORDINATOR: 1,
        Role.TRAINER: spec.trainer.replicas,
        Role.ROLLOUT: spec.rollout.replicas,
        Role.USER: spec.user_model.replicas,
    }
    return {role: sizes[role] for role in roles(spec)}


def objects(
    job: Job, spec: Spec, replicas: Mapping[Role, int], images: Images, token_digest: str
) -> list[Object]:
    """Services first, so that names resolve once pods start."""
    services = [service(job, role) for role in replicas]
    sets = [
        stateful_set(
            job,
            role,
            size,
            _template(job, spec, role, images, token_digest),
            coordinator.claims(spec) if role is Role.COORDINATOR else None,
        )
        for role, size in replicas.items()
    ]
    return [*services, *sets]


def _template(job: Job, spec: Spec, role: Role, images: Images, token_digest: str) -> Object:
    if role is Role.COORDINATOR:
        return coordinator.template(job, spec, images.coordinator, token_digest)
    if role is Role.TRAINER:
        return trainer.template(job, spec, images.trainer, token_digest)
    return engine.template(job, spec, role, images.rollout, token_digest)
