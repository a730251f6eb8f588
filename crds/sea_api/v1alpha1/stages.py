"""The program of a job: an ordered list of stages, each with its own block of settings.

The blocks of stages that run episodes are here; the others are in `synthesis_stage.py` and
`sft_stage.py`.
"""

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import Field

from sea_api import limits
from sea_api.v1alpha1 import forms
from sea_api.v1alpha1.addresses import S3File
from sea_api.v1alpha1.base import ApiModel
from sea_api.v1alpha1.edits import IMMUTABLE, NEXT_STAGE, NEXT_STEP, Edits, Effect
from sea_api.v1alpha1.rules import Rule
from sea_api.v1alpha1.sft_stage import SFTStage
from sea_api.v1alpha1.synthesis_stage import SynthesisStage
from sea_api.v1alpha1.types import Bool, Int, Number, Seed, Steps, Temperature

BASE = "Base"
"""`startFrom`: the job's base model. No stage has this name."""


class StageType(StrEnum):
    SYNTHESIS = "Synthesis"
    USER_SFT = "UserSFT"
    SFT = "SFT"
    RL = "RL"
    EVALUATION = "Evaluation"


class ImportanceMode(StrEnum):
    CAP = "Cap"
    MASK = "Mask"


class AdvantageNormalization(StrEnum):
    GROUP = "Group"
    BATCH = "Batch"
    NONE = "None"


class EpisodeLimits(ApiModel):
    """How far an episode of a stage may go."""

    edits: ClassVar[Edits] = NEXT_STEP

    invariants: ClassVar[tuple[Rule, ...]] = (
        Rule(
            # A gap in a range, which no bound can say.
            cel="self.maxRepeats != 1",
            message="maxRepeats 1 would end every episode at its first call: set 0 to switch the"
            " check off, or 2 or more",
            holds=lambda limits: limits.max_repeats != 1,
        ),
    )

    max_tokens_per_turn: Int = Field(default=limits.MAX_TOKENS_PER_TURN, ge=1, le=1048576)
    """Most tokens of one agent turn."""
    max_turns: Int = Field(default=limits.MAX_TURNS, ge=1, le=10000)
    """Most agent turns of one episode."""
    max_repeats: Int = Field(default=limits.MAX_REPEATS, ge=0, le=1000)
    """Identical calls with identical results in a row that end an episode as a loop; 0 never ends
    one."""
    max_messages: Int | None = Field(default=None, ge=1, le=100000)
    """Most messages of one episode, those of user, agent and tools together, as tau2-bench and
    AReaL count steps; absent means that `maxTurns` alone decides."""
    max_tool_errors: Int | None = Field(default=None, ge=1, le=10000)
    """Tool calls of agent and user that end in an error before the episode ends; tau2-bench
    allows 10. Absent means any number."""
    greeting: Bool = False
    """True begins the agent's context with a greeting of its own, as tau2-bench does; false, the
    default, with the user's first text."""
    episode_timeout_seconds: Int = Field(default=3600, ge=1, le=86400)
    """Wall-clock seconds of one episode; one that takes longer has no verdict and runs again, with
    another worker if its own doesn't give it back."""


class RLStage(EpisodeLimits):
    """Asynchronous GRPO on verifiable tasks."""

    invariants: ClassVar[tuple[Rule, ...]] = (
        *EpisodeLimits.invariants,
        Rule(
            # A rule and no bound, since the sentence about a bound gives no reason.
            cel="self.trajectoriesPerPrompt >= 2",
            message="rl.trajectoriesPerPrompt must be at least 2, since the advantage of a"
            " trajectory is relative to the others of its group",
            holds=lambda rl: rl.trajectories_per_prompt >= 2,
        ),
        Rule(
            cel="!has(self.maxAge) || self.maxAge >= self.maxStaleness",
            message="rl.maxAge must be at least maxStaleness: below it, groups would be dropped"
            " that the staleness gate lets start; raise maxAge, or remove it",
            holds=lambda rl: rl.max_age is None or rl.max_age >= rl.max_staleness,
        ),
        Rule(
            cel="self.warmupSteps < self.steps",
            message="rl.warmupSteps must be less than steps, or the rate never reaches"
            " learningRate: lower warmupSteps (to end a running stage early, lower both)",
            holds=lambda rl: rl.warmup_steps < rl.steps,
        ),
    )

    steps: Steps = 100
    """Batches to train on. Lowered below what a running stage has trained on, it ends the stage,
    with checkpoint and export, after the step that is under way."""
    prompts_per_step: Int = Field(default=16, ge=1, le=65536)
    """Groups in one batch."""
    trajectories_per_prompt: Int = Field(default=16, ge=1, le=4096)
    """Group size; the advantage is relative to the group, so at least 2."""
    learning_rate: Number = Field(default=1e-5, gt=0, le=1)
    """Step size of AdamW after the warm-up."""
    final_learning_rate_fraction: Number = Field(default=1.0, ge=0, le=1)
    """The rate decays linearly to this share of `learningRate` at the last step; 1, the default,
    keeps it constant."""
    warmup_steps: Int = Field(default=0, ge=0, le=1000000)
    """Steps over which the rate rises linearly from 0; 0, the default, starts at the full rate."""
    weight_decay: Number = Field(default=0.0, ge=0, le=1)
    """AdamW's decoupled weight decay; 0, the default, is none."""
    adam_beta1: Number = Field(default=0.9, ge=0, lt=1)
    """Decay of AdamW's mean of gradients."""
    adam_beta2: Number = Field(default=0.95, ge=0, lt=1)
    """Decay of AdamW's mean of squared gradients."""
    temperature: Temperature = Field(default=1.0, gt=0)
    """Sampling temperature of the agent, which the trainer's log-probabilities take into
    account."""
    max_staleness: Int = Field(default=2, ge=0, le=1000)
    """Versions that a batch may lag behind the trainer (eta of the staleness gate); 0 waits for
    every version."""
    max_age: Int | None = Field(default=None, ge=0, le=100000)
    """Versions that a trajectory's tokens may on average be older than the weights that train on
    it; a group with an older one is dropped and replaced. `maxStaleness` bounds what may start,
    this what long episodes become. Absent means 2 * `maxStaleness` + 2."""
    max_concurrent_groups: Int = Field(default=64, ge=1, le=65536)
    """Groups that may run at one time."""
    filter_constant_groups: Bool = True
    """Drop and replace groups whose rewards are all equal, since they carry no gradient; false
    trains on them too."""
    max_mean_reward: Number | None = Field(default=None, ge=0, le=1)
    """Drop and replace groups whose mean reward is above this, as too easy (AReaL: 0.95); absent
    keeps them."""
    reward_bias: Number = Field(default=0.0, ge=-1000, le=1000)
    """Added to each reward, then multiplied by `rewardScale`. Only `advantageNormalization: None`
    leaves the two a meaning: a mean and a deviation cancel them out."""
    reward_scale: Number = Field(default=1.0, gt=0, le=1000)
    """Factor of each reward after `rewardBias`."""
    advantage_normalization: AdvantageNormalization = AdvantageNormalization.GROUP
    """What makes rewards advantages: `Group` subtracts the mean of the prompt's trajectories and
    divides by their deviation (GRPO); `Batch` takes mean and deviation over all generated tokens
    of the batch (AReaL's `adv_norm`); `None` takes the reward as it is."""
    clip_low: Number = Field(default=0.2, gt=0, lt=1)
    """The policy ratio is clipped below 1 - this. Without effect while `minibatches` is 1: the
    ratio is 1 in a batch's first update."""
    clip_high: Number = Field(default=0.2, gt=0, le=10)
    """The policy ratio is clipped above 1 + this. Without effect while `minibatches` is 1."""
    importance_mode: ImportanceMode = ImportanceMode.CAP
    """What happens to a proximal/behavior ratio above `importanceUpper`: `Cap` limits it to
    that, `Mask` leaves the token out."""
    importance_upper: Number = Field(default=5.0, ge=1, le=1000)
    """Largest weight of a token for being sampled by an older version."""
    saved_rollouts: Number = Field(default=1.0, ge=0, le=1)
    """Share of each batch's groups whose dialogues are written to `rollouts/<stage>/` in the
    run's folder, at least one group per step; 1, the default, keeps all, 0 none."""
    minibatches: Int = Field(default=1, ge=1, le=1024)
    """Optimizer updates per batch; `clipLow` and `clipHigh` act from the second on."""
    seed: Seed = 0
    """Seed of task order and sampling: every request carries a seed made of this one, the prompt's
    place, the trajectory and the turn."""


class EvaluationStage(EpisodeLimits):
    """Measures pass^k of the newest policy.

    All episodes are fixed when the stage starts.
    """

    edits: ClassVar[Edits] = NEXT_STAGE.but(
        Effect.NEXT_STEP,
        "max_tokens_per_turn",
        "max_turns",
        "max_repeats",
        "max_messages",
        "max_tool_errors",
        "greeting",
        "episode_timeout_seconds",
        "temperature",
    )

    tasks: list[S3File] = Field(default=[], max_length=64)
    """Task files; empty, the default, means `spec.data.rl` and what Synthesis stages before it
    have made."""
    trials: Int = Field(default=4, ge=1, le=1000)
    """Episodes per task (n of pass^k)."""
    max_tasks: Int | None = Field(default=None, ge=1, le=1000000)
    """Upper bound on tasks; absent means all."""
    temperature: Temperature = 1.0
    """Sampling temperature of the agent; 0 is greedy."""
    seed: Seed = 0
    """Seed of sampling, and of the choice of tasks if `maxTasks` is set. Every request of an
    episode carries a seed made of this one, the task's row, the trial and the turn: with one
    engine the stage repeats token for token."""


_BLOCKS = {
    StageType.SYNTHESIS: ("synthesis", "synthesis"),
    StageType.USER_SFT: ("userSFT", "user_sft"),
    StageType.SFT: ("sft", "sft"),
    StageType.RL: ("rl", "rl"),
    StageType.EVALUATION: ("evaluation", "evaluation"),
}
"""The one block of each type: its name in YAML and in Python."""


def _block_of_type(kind: StageType, block: str, attribute: str) -> Rule:
    def holds(stage: Any) -> bool:
        return (stage.type == kind) == (getattr(stage, attribute) is not None)

    return Rule(
        cel=f"(self.type == '{kind}') == has(self.{block})",
        message=f"the block {block} belongs to stages of type {kind}, which need it, and to no"
        f" other: add {block}, remove it, or change type",
        holds=holds,
    )


TRAINING = (StageType.USER_SFT, StageType.SFT, StageType.RL)

_ONLY_TRAINING_STARTS = Rule(
    cel="!has(self.startFrom) || self.type in ['UserSFT', 'SFT', 'RL']",
    message="startFrom says which weights a stage trains on, so only stages of type UserSFT, SFT"
    " or RL have it: remove it",
    holds=lambda stage: stage.start_from is None or stage.type in TRAINING,
)


class Stage(ApiModel):
    """One step of the program; exactly the block that `type` names is set."""

    edits: ClassVar[Edits] = IMMUTABLE.but(Effect.NEXT_STAGE, "start_from")

    invariants: ClassVar[tuple[Rule, ...]] = (
        *(_block_of_type(kind, *names) for kind, names in _BLOCKS.items()),
        _ONLY_TRAINING_STARTS,
    )

    name: Annotated[str, Field(min_length=1, max_length=40), forms.STAGE_NAME]
    """Unique among the job's stages; names the stage's folder in the object store."""
    type: StageType
    """What the stage does, and which block below is set."""
    start_from: str | None = Field(default=None, max_length=40)
    """Weights that a training stage begins with: `Base`, the base model, or those that the stage of
    this name, before this one and of the same model, ended with. Absent means the newest: those of
    the last stage before that trained the same model, `Base` if there is none."""
    synthesis: SynthesisStage | None = None
    """Settings of a `Synthesis` stage; `{}` takes the defaults."""
    user_sft: SFTStage | None = None
    """Settings of a `UserSFT` stage; `{}` takes the defaults."""
    sft: SFTStage | None = None
    """Settings of an `SFT` stage; `{}` takes the defaults."""
    rl: RLStage | None = None
    """Settings of an `RL` stage; `{}` takes the defaults."""
    evaluation: EvaluationStage | None = None
    """Settings of an `Evaluation` stage; `{}` takes the defaults."""
