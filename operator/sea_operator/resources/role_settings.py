"""What a spec says of each role: if the job has it, its pods, their template and GPUs. Pure."""

from sea_api.contract import ROLES
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.pods import PodTemplate
from sea_api.v1alpha1.policy import Role
from sea_api.v1alpha1.roles import UserEngine

FIELDS = {
    Role.COORDINATOR: "coordinator",
    Role.TRAINER: "trainer",
    Role.ROLLOUT: "rollout",
    Role.USER: "userModel",
}
"""Blocks of the spec, by role."""
_ATTRIBUTES = {**FIELDS, Role.USER: "user_model"}


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


def template_of(spec: Spec, role: Role) -> PodTemplate:
    """What the spec says of a role's pods."""
    templates = {
        Role.COORDINATOR: spec.coordinator.template,
        Role.TRAINER: spec.trainer.template,
        Role.ROLLOUT: spec.rollout.template,
        Role.USER: spec.user_model.template,
    }
    return templates[role]


def edited(spec: Spec, role: Role, **fields: object) -> Spec:
    """The spec with other values in a role's block; nothing is validated again."""
    name = _ATTRIBUTES[role]
    return spec.model_copy(update={name: getattr(spec, name).model_copy(update=fields)})


def gpus_of(spec: Spec, role: Role) -> int:
    """GPUs of each of a role's pods."""
    gpus = {
        Role.TRAINER: spec.trainer.gpus_per_pod,
        Role.ROLLOUT: spec.rollout.gpus_per_pod,
        Role.USER: spec.user_model.gpus_per_pod,
    }
    return gpus.get(role, 0)
