"""What a job may ask for but probably doesn't mean. Pure.

Not refused, since each can be right once. `sea job check` prints it as warnings; the operator puts
it into the condition `SpecWarning` and into an Event.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.role_rules import processes_per_pod
from sea_api.v1alpha1.roles import Rollout, UserEngine, UserModel
from sea_api.v1alpha1.stages import RLStage

HIGH_LEARNING_RATE = 1e-3
"""Ten times what full fine-tuning of language models uses at most."""


@dataclass(frozen=True)
class Advice:
    """One doubt."""

    path: tuple[str | int, ...]
    sentence: str
    """Why it is probably not meant, and what to write instead."""


def advice(spec: Spec) -> list[Advice]:
    """All of it, in the order of the spec."""
    found = [*_stages(spec), *_engine(("spec", "rollout"), spec.rollout)]
    if spec.user_model.engine is UserEngine.VLLM:
        found += _engine(("spec", "userModel"), spec.user_model)
    return found


def _stages(spec: Spec) -> Iterator[Advice]:
    for i, stage in enumerate(spec.stages):
        for name, block in (("rl", stage.rl), ("sft", stage.sft), ("userSFT", stage.user_sft)):
            place = ("spec", "stages", i, name)
            if block is not None and block.learning_rate > HIGH_LEARNING_RATE:
                yield Advice(
                    (*place, "learningRate"),
                    f"{block.learning_rate:g} destroys most models within a few steps: 1e-5 is"
                    " usual",
                )
            if isinstance(block, RLStage):
                yield from _rl(place, block)


def _rl(place: tuple[str | int, ...], rl: RLStage) -> Iterator[Advice]:
    batch = rl.prompts_per_step * rl.trajectories_per_prompt
    if rl.minibatches > batch:
        yield Advice(
            (*place, "minibatches"),
            f"{rl.minibatches} updates share a batch of {batch} trajectories (promptsPerStep *"
            " trajectoriesPerPrompt), so some get none: lower it",
        )
    if rl.max_concurrent_groups < rl.prompts_per_step:
        yield Advice(
            (*place, "maxConcurrentGroups"),
            f"{rl.max_concurrent_groups} groups at a time make a batch of {rl.prompts_per_step}"
            " groups in several rounds, while engines idle: raise it to promptsPerStep or more",
        )


def _engine(place: tuple[str | int, ...], role: Rollout | UserModel) -> Iterator[Advice]:
    gpus, used = processes_per_pod(role.gpus_per_pod), role.parallelism.tensor
    if role.replicas and used < gpus:
        yield Advice(
            (*place, "parallelism", "tensor"),
            f"an engine uses {used} of its pod's {gpus} GPUs: set tensor to {gpus}, or"
            f" gpusPerPod to {used} and more replicas",
        )
