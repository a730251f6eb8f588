"""Which roles a stage needs; the others hold no GPUs while it runs, unless kept warm. Pure.

Supervised stages need only the trainer, evaluations only engines, and a Synthesis stage asks an
endpoint or nobody. An engine that starts late loads the base model and adopts the newest version,
which the trainer leaves in the object store at the end of each stage.
"""

from collections.abc import Mapping

from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.policy import Role
from sea_api.v1alpha1.stages import StageType
from sea_operator.resources.build import full_size

ENGINES = frozenset({Role.ROLLOUT, Role.USER})
NEEDED: Mapping[StageType, frozenset[Role]] = {
    StageType.SYNTHESIS: frozenset(),
    StageType.USER_SFT: frozenset({Role.TRAINER}),
    StageType.SFT: frozenset({Role.TRAINER}),
    StageType.RL: ENGINES | {Role.TRAINER},
    # Not the trainer, though a later stage may need it: an evaluation takes far longer than its
    # start does.
    StageType.EVALUATION: ENGINES,
}


def sizes(spec: Spec, stage_index: int) -> dict[Role, int]:
    """Pods of each role while a stage runs; the coordinator always runs."""
    used = NEEDED[spec.stages[stage_index].type] | warm(spec) | {Role.COORDINATOR}
    return {role: size if role in used else 0 for role, size in full_size(spec).items()}


def warm(spec: Spec) -> frozenset[Role]:
    """Roles whose pods stay through stages that don't need them."""
    kept = {
        Role.TRAINER: spec.trainer.warm,
        Role.ROLLOUT: spec.rollout.warm,
        Role.USER: spec.user_model.warm,
    }
    return frozenset(role for role, stays in kept.items() if stays)
