"""The program of a job: an ordered list of stages, each with its own block of settings."""

from enum import StrEnum

from pydantic import Field

from sea_api.v1alpha1.base import ApiModel


class StageType(StrEnum):
    SYNTHESIS = "Synthesis"
    USER_SFT = "UserSft"
    SFT = "Sft"
    RL = "Rl"
    EVALUATION = "Evaluation"


class ImportanceMode(StrEnum):
    CAP = "Cap"
    MASK = "Mask"


class SynthesisStage(ApiModel):
    tasks_per_domain: int = Field(default=100, ge=1, le=1000000)
    rounds: int = Field(default=1, ge=1, le=100)
    seed: int = Field(default=0, ge=0, le=2147483647)


class SftStage(ApiModel):
    epochs: int = Field(default=1, ge=1, le=1000)
    batch_size: int = Field(default=128, ge=1, le=65536)
    """Dialogues a step."""
    learning_rate: float = Field(default=1e-5, gt=0, le=1)
    warmup_steps: int = Field(default=0, ge=0, le=1000000)
    max_steps: int | None = Field(default=None, ge=1, le=100000000)
    """Upper bound on steps, whatever the epochs say."""
    observation_weight: float = Field(default=0.0, ge=0, le=1)
    """Loss weight of tokens that the trained role did not write (0 masks them)."""
    validation_fraction: float = Field(default=0.0, ge=0, lt=1)
    """Share of dialogues kept back to measure the loss on."""
    validation_every: int = Field(default=10, ge=1, le=100000)
    """Steps between two measurements on the kept-back dialogues."""
    stop_at_validation_loss: float | None = Field(default=None, gt=0, le=100)
    """Stop once the validation loss (nats per answer token) is at or below this."""
    data: list[str] = Field(default=[], max_length=64)
    """Dialogue files of this stage; empty means `spec.data.sft`."""
    seed: int = Field(default=0, ge=0, le=2147483647)


class RlStage(ApiModel):
    steps: int = Field(default=100, ge=1, le=100000000)
    prompts_per_step: int = Field(default=16, ge=1, le=65536)
    """Groups in one batch."""
    trajectories_per_prompt: int = Field(default=16, ge=2, le=4096)
    """Group size; the advantage is relative to the group, so at least 2."""
    learning_rate: float = Field(default=1e-5, gt=0, le=1)
    final_learning_rate_fraction: float = Field(default=1.0, ge=0, le=1)
    """The rate decays linearly to this share of `learningRate` at the last step."""
    warmup_steps: int = Field(default=0, ge=0, le=1000000)
    temperature: float = Field(default=1.0, gt=0, le=10)
    max_tokens_per_turn: int = Field(default=8192, ge=1, le=1048576)
    max_turns: int = Field(default=50, ge=1, le=10000)
    """Most agent turns of one episode."""
    max_staleness: int = Field(default=2, ge=0, le=1000)
    """Versions a batch may lag behind the trainer (eta of the staleness gate)."""
    max_concurrent_groups: int = Field(default=64, ge=1, le=65536)
    """Groups that may run at one time."""
    clip_low: float = Field(default=0.2, gt=0, lt=1)
    clip_high: float = Field(default=0.2, gt=0, le=10)
    importance_mode: ImportanceMode = ImportanceMode.CAP
    """What happens to a proximal/behaviour ratio above `importanceUpper`."""
    importance_upper: float = Field(default=5.0, ge=1, le=1000)
    minibatches: int = Field(default=1, ge=1, le=1024)
    """Optimizer steps a batch."""
    seed: int = Field(default=0, ge=0, le=2147483647)


class EvaluationStage(ApiModel):
    tasks: list[str] = Field(default=[], max_length=64)
    """Task files; empty means `spec.data.rl`."""
    trials: int = Field(default=4, ge=1, le=1000)
    """Episodes a task (n of pass^k)."""
    max_tasks: int | None = Field(default=None, ge=1, le=1000000)
    temperature: float = Field(default=1.0, ge=0, le=10)
    max_tokens_per_turn: int = Field(default=8192, ge=1, le=1048576)
    max_turns: int = Field(default=50, ge=1, le=10000)
    seed: int = Field(default=0, ge=0, le=2147483647)


class Stage(ApiModel):
    """One step of the program; exactly the block that `type` names may be set."""

    name: str = Field(min_length=1, max_length=40, pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")
    type: StageType
    synthesis: SynthesisStage | None = None
    user_sft: SftStage | None = None
    sft: SftStage | None = None
    rl: RlStage | None = None
    evaluation: EvaluationStage | None = None
