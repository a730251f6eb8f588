"""The block of `SFT` and `UserSFT` stages."""

from typing import ClassVar

from pydantic import Field

from sea_api.v1alpha1.addresses import S3File
from sea_api.v1alpha1.base import ApiModel
from sea_api.v1alpha1.edits import NEXT_STEP, Edits
from sea_api.v1alpha1.rules import Rule
from sea_api.v1alpha1.types import Int, Number, Seed, Steps


class SFTStage(ApiModel):
    """Supervised fine-tuning on dialogues, of the agent (`SFT`) or of the user (`UserSFT`)."""

    edits: ClassVar[Edits] = NEXT_STEP

    invariants: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.stopAtValidationLoss) || self.validationFraction > 0.0",
            message="stopAtValidationLoss has no loss to look at while validationFraction is 0:"
            " keep dialogues back for it, or remove it",
            holds=lambda sft: sft.stop_at_validation_loss is None or sft.validation_fraction > 0,
        ),
        Rule(
            cel="!has(self.maxSteps) || self.warmupSteps < self.maxSteps",
            message="warmupSteps must be less than maxSteps, or the rate never reaches"
            " learningRate: lower warmupSteps (to end a running stage early, lower both)",
            holds=lambda sft: sft.max_steps is None or sft.warmup_steps < sft.max_steps,
        ),
    )

    epochs: Int = Field(default=1, ge=1, le=1000)
    """Passes over the dialogues. A running stage that has made as many steps already ends, with
    checkpoint and export, after the step that is under way."""
    batch_size: Int = Field(default=128, ge=1, le=65536)
    """Dialogues per step. After an edit, the place in the data is the number of steps done times
    the new size."""
    learning_rate: Number = Field(default=1e-5, gt=0, le=1)
    """Step size of AdamW after the warm-up."""
    warmup_steps: Int = Field(default=0, ge=0, le=1000000)
    """Steps over which the rate rises linearly from 0; 0, the default, starts at the full rate."""
    weight_decay: Number = Field(default=0.0, ge=0, le=1)
    """AdamW's decoupled weight decay; 0, the default, is none."""
    adam_beta1: Number = Field(default=0.9, ge=0, lt=1)
    """Decay of AdamW's mean of gradients."""
    adam_beta2: Number = Field(default=0.95, ge=0, lt=1)
    """Decay of AdamW's mean of squared gradients."""
    max_steps: Steps | None = None
    """Upper bound on steps; absent means that `epochs` alone decides. Lowered below what a running
    stage has made, it ends the stage after the step that is under way."""
    observation_weight: Number = Field(default=0.0, ge=0, le=1)
    """Loss weight of tokens that the trained role did not write; 0, the default, masks them."""
    validation_fraction: Number = Field(default=0.0, ge=0, lt=1)
    """Share of dialogues held out to measure the loss on; 0, the default, holds none out."""
    validation_every: Int = Field(default=10, ge=1, le=100000)
    """Steps between two measurements on the held-out dialogues."""
    stop_at_validation_loss: Number | None = Field(default=None, gt=0, le=100)
    """Stop once the validation loss (nats per answer token) is at or below this; absent means
    that it never stops the stage."""
    data: list[S3File] = Field(default=[], max_length=64)
    """Dialogue files of this stage; empty, the default, means `spec.data.sft` and what Synthesis
    stages before it have made."""
    seed: Seed = 0
    """Seed of the order of dialogues."""
