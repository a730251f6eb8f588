"""The verdict of a job's plan, made once the base models are prepared and before pods with GPUs.

The GPUs are those that the job's node selectors name (`nvidia.com/gpu.product`), or that the
operator has found on the nodes; without a name that the planner knows, what depends on them isn't
judged. Pure.
"""

import json
from collections.abc import Mapping
from typing import Any

from sea_api.contract import role_label
from sea_api.v1alpha1.pods import PodTemplate
from sea_api.v1alpha1.policy import Role
from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_api.wire.state import Fit, PlanVerdict
from sea_runtime.coordinator.errors import PreconditionError
from sea_runtime.parallel import hf_config
from sea_runtime.parallel.hf_config import ModelError, ModelShape
from sea_runtime.parallel.parallel_layout import LayoutError
from sea_runtime.planner import budgets, gpus, job_plan
from sea_runtime.planner.gpus import Gpu
from sea_runtime.planner.job_plan import JobPlan, Known

_FITS = {
    budgets.Fit.FITS: Fit.FITS,
    budgets.Fit.TIGHT: Fit.TIGHT,
    budgets.Fit.DOES_NOT_FIT: Fit.DOES_NOT_FIT,
}
Config = Mapping[str, Any]
COMMAND = "`sea plan` on the job's file prints the whole plan, and layouts that fit."


def digest(desired: CoordinatorSpec) -> str:
    """Changes when the job must be planned again."""
    spec = desired.spec
    roles = (spec.trainer, spec.rollout, spec.user_model)
    stages = [(stage.type, stage.rl) for stage in spec.stages]
    return f"{spec.model} {roles} {stages} {spec.scheduling} {spec.checkpoint} {desired.gpus}"


def judge(desired: CoordinatorSpec, configs: Mapping[str, Config]) -> PlanVerdict | None:
    """The verdict; None if there is nothing to judge.

    Args:
        configs: config.json of each stream's model.

    Raises:
        PreconditionError: the trainer's layout doesn't fit the model.
    """
    try:
        plan = job_plan.plan(desired.spec, known(desired, configs))
    except LayoutError as error:
        raise PreconditionError("ModelDoesNotFit", str(error)) from error
    limited = [budget for budget in plan.budgets if budget.capacity is not None]
    if not limited:
        return None
    return PlanVerdict(fit=_FITS[plan.fit], message=_message(plan))


def known(desired: CoordinatorSpec, configs: Mapping[str, Config]) -> Known:
    """Shapes from the models, kinds of GPUs from the job's selectors, then from the nodes."""
    spec = desired.spec
    shapes = {stream: shape for stream in configs if (shape := _shape(configs[stream]))}
    return Known(
        shapes,
        trainer_gpu=_gpu(desired, Role.TRAINER, spec.trainer.template),
        rollout_gpu=_gpu(desired, Role.ROLLOUT, spec.rollout.template),
        user_gpu=_gpu(desired, Role.USER, spec.user_model.template),
    )


def _gpu(desired: CoordinatorSpec, role: Role, template: PodTemplate) -> Gpu | None:
    seen = desired.gpus.get(role_label(role))
    named = gpus.selected(desired.spec, template)
    return gpus.of_product(seen.product, seen.memory_mib) if seen and not named else named


def _shape(config: Config) -> ModelShape | None:
    """None for a model that the trainer can't train: engines may still serve it."""
    try:
        return hf_config.parse(json.dumps(config))
    except ModelError:
        return None


def _message(plan: JobPlan) -> str:
    """The worst first; for a job that fits, what is fullest."""
    if plan.fit is not budgets.Fit.FITS:
        return " ".join([*plan.sentences(plan.fit), COMMAND])
    fullest = max(
        (budget for budget in plan.budgets if budget.capacity),
        key=lambda budget: budget.needed / (budget.capacity or 1.0),
    )
    needed, available = budgets.gb(fullest.needed), budgets.gb(fullest.capacity or 0.0)
    return f"The fullest is {fullest.where}, with {needed} of {available}."


def require_fit(verdict: PlanVerdict | None) -> None:
    """Raises PreconditionError if the job can't fit."""
    if verdict is not None and verdict.fit is Fit.DOES_NOT_FIT:
        raise PreconditionError("DoesNotFit", verdict.message)
