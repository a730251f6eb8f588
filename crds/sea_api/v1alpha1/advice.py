"""What a job may ask for but probably doesn't mean. Pure.

Not refused, since each can be right once. `sea job check` prints it as warnings; the operator puts
it into the condition `SpecWarning` and into an Event.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic.alias_generators import to_camel

from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.stages import AdvantageNormalization, RLStage

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
    return list(_stages(spec))


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
    normalized = rl.advantage_normalization is not AdvantageNormalization.NONE
    if normalized and (rl.reward_bias or rl.reward_scale != 1):
        yield Advice(
            (*place, "rewardBias" if rl.reward_bias else "rewardScale"),
            f"advantageNormalization {rl.advantage_normalization} subtracts the mean and divides by"
            " the deviation, which cancels rewardBias and rewardScale out: remove them, or set"
            " advantageNormalization None",
        )
    # Not by the fields that are set: the API server stores every default.
    edited = [one for one in ("clip_low", "clip_high") if _differs(rl, one)]
    if rl.minibatches == 1 and edited:
        yield Advice(
            (*place, to_camel(edited[0])),
            "the policy ratio is 1 in the only update of a batch, so nothing is clipped: remove"
            " clipLow and clipHigh, or raise minibatches",
        )
    if rl.max_concurrent_groups < rl.prompts_per_step:
        yield Advice(
            (*place, "maxConcurrentGroups"),
            f"{rl.max_concurrent_groups} groups at a time make a batch of {rl.prompts_per_step}"
            " groups in several rounds, while engines idle: raise it to promptsPerStep or more",
        )


def _differs(rl: RLStage, field: str) -> bool:
    """True if the field differs from its default."""
    return bool(getattr(rl, field) != RLStage.model_fields[field].default)
