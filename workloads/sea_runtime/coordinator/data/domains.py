"""Can this job work in its domains? Names that CEL admits may be missing from the image."""

from collections.abc import Collection

from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.stages import StageType
from sea_data.synthesis.procedural import task_generators
from sea_env.domains import registry
from sea_runtime.coordinator.errors import PreconditionError

_WHERE = (
    "What counts is what the images of the coordinator and of the rollout pods hold "
    "(spec.coordinator.template.image, spec.rollout.template.image); docs/adding-a-domain.md "
    "says how a package gets there."
)


def require(spec: Spec, made: Collection[str]) -> None:
    """Loads every domain. `made`: Synthesis stages that are complete.

    Raises:
        PreconditionError: a domain is missing or broken, or a stage has no worker for its tasks.
    """
    without_model = _procedural(spec, made)
    for name in spec.domains:
        try:
            domain = registry.get(name)
            has_worker = not without_model or task_generators.find(domain) is not None
        except registry.UnknownDomainError as error:
            raise PreconditionError("UnknownDomain", f"spec.domains: {error} {_WHERE}") from error
        if not has_worker:
            raise _nobody(without_model[0], name)


def _procedural(spec: Spec, made: Collection[str]) -> list[str]:
    """Synthesis stages to come whose tasks no model makes."""
    return [
        stage.name
        for stage in spec.stages
        if stage.type == StageType.SYNTHESIS
        and stage.name not in made
        and (stage.synthesis is None or stage.synthesis.endpoint is None)
    ]


def _nobody(stage: str, domain: str) -> PreconditionError:
    return PreconditionError(
        "NoWorker",
        f"spec.stages: stage '{stage}' has no synthesis.endpoint, and without a model nobody makes "
        f"tasks of the domain {domain} (built in: {', '.join(task_generators.names())}). Set "
        "synthesis.endpoint, or bring a task generator with the domain's package "
        "(docs/adding-a-domain.md).",
    )
