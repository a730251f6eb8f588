"""Bytes that a job's pods and GPUs need, against what they have, and what to change. Pure.

`job_plan.py` collects them; a condition or a page shows them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.pod_rules import amount
from sea_api.v1alpha1.pods import PodTemplate
from sea_api.v1alpha1.role_rules import processes_per_pod
from sea_api.v1alpha1.roles import Rollout, UserModel
from sea_runtime.planner import engine_memory, host_memory, trainer_memory
from sea_runtime.planner.engine_memory import EngineSetup
from sea_runtime.planner.gpus import Gpu
from sea_runtime.planner.trainer_memory import MARGIN, Item, TrainerSetup, total


class Fit(Enum):
    """In ascending order of trouble."""

    FITS = "fits"
    TIGHT = "tight"
    DOES_NOT_FIT = "does not fit"


@dataclass(frozen=True)
class Budget:
    """Bytes needed in one place against what is there."""

    name: str
    where: str
    """As a person reads it: "each GPU of the trainer"."""
    items: tuple[Item, ...]
    capacity: float | None
    """None: nothing limits it, or it isn't known."""
    remedy: str
    """What to change if it doesn't fit."""

    @property
    def needed(self) -> float:
        return total(self.items)

    @property
    def fit(self) -> Fit:
        if self.capacity is None or self.needed <= (1 - MARGIN) * self.capacity:
            return Fit.FITS
        return Fit.TIGHT if self.needed <= (1 + MARGIN) * self.capacity else Fit.DOES_NOT_FIT

    def sentence(self) -> str:
        """The budget in words and numbers, for a condition."""
        assert self.capacity is not None
        largest = sorted(self.items, key=lambda item: -item.nbytes)[:3]
        parts = ", ".join(f"{item.name} {gb(item.nbytes)}" for item in largest)
        verb = "needs" if self.fit is Fit.DOES_NOT_FIT else "needs about"
        return (
            f"{self.where[0].upper()}{self.where[1:]} {verb} {gb(self.needed)} of"
            f" {gb(self.capacity)} ({parts}): {self.remedy}."
        )


def gb(nbytes: float) -> str:
    return f"{nbytes / 1e9:,.1f} GB" if nbytes < 1e12 else f"{nbytes / 1e12:,.2f} TB"


LAYOUT_REMEDY = (
    "spread the model over more GPUs (trainer.parallelism, trainer.replicas), set"
    " trainer.optimizer.offload, or lower trainer.maxTokensPerMicrobatch"
)
ENGINE_REMEDY = "raise gpusPerPod, or lower model.contextLength"
LIMIT_REMEDY = "raise template.limits.memory"


def _limit(template: PodTemplate) -> float | None:
    text = template.limits.get("memory")
    return float(amount(text)) if text else None


def of_trainer(
    spec: Spec, name: str, setup: TrainerSetup, gpu: Gpu | None, replayed: float
) -> Iterator[Budget]:
    """Budgets of the fullest GPU and of a pod; on CPUs, of a pod alone.

    Args:
        name: "trainer", or of the user model's.
        gpu: None: its kind isn't known.
        replayed: bytes of the experts that a step's trajectories name.
    """
    trainer = spec.trainer
    stage = trainer_memory.peak_stage(setup)
    items = tuple(trainer_memory.items(setup, stage))
    limit = _limit(trainer.template)
    if not trainer.gpus_per_pod:
        named = host_memory.replayed(replayed, 1, setup.shape, setup.layout)
        pod = (Item("process", host_memory.PROCESS_BYTES), *named, *items)
        yield Budget(name, "each pod of the trainer", pod, limit, LIMIT_REMEDY)
        return
    capacity = float(gpu.memory) if gpu else None
    place = f" (stage {stage} of {setup.layout.pipeline})" * (setup.layout.pipeline > 1)
    yield Budget(name, f"each GPU of the {name}{place}", items, capacity, LAYOUT_REMEDY)
    ranks = processes_per_pod(trainer.gpus_per_pod)
    held = (
        *host_memory.trainer_pod(setup, ranks, spec.checkpoint),
        *host_memory.replayed(replayed, ranks, setup.shape, setup.layout),
    )
    yield Budget(f"{name}'s pod", f"each pod of the {name}", held, limit, LIMIT_REMEDY)


def of_engine(
    name: str, role: Rollout | UserModel, setup: EngineSetup, gpu: Gpu | None
) -> Iterator[Budget]:
    """Budgets of each GPU and of a pod; none on CPUs.

    Args:
        name: "rollout" or "user model".
        gpu: None: its kind isn't known.
    """
    if not role.gpus_per_pod:
        return
    # One sequence at full context: vLLM doesn't start with less.
    cache = engine_memory.kv_token_bytes(setup) * setup.context
    items = (*engine_memory.fixed(setup), Item("KV cache of one full sequence", cache))
    capacity = engine_memory.UTILIZATION * gpu.memory if gpu else None
    yield Budget(name, f"each GPU of the {name}", items, capacity, ENGINE_REMEDY)
    held = tuple(host_memory.engine_pod(setup.shape, setup.element, setup.tensor))
    limit = _limit(role.template)
    yield Budget(f"{name}'s pod", f"each pod of the {name}", held, limit, LIMIT_REMEDY)
