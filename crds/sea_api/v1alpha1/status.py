"""What the operator reports: kstatus conditions, progress, versions, scores."""

from pydantic import Field

from sea_api.v1alpha1.base import ApiModel


class Condition(ApiModel):
    type: str = Field(max_length=64)
    status: str = Field(max_length=16)
    reason: str = Field(max_length=128)
    message: str = Field(max_length=4096)
    last_transition_time: str = Field(max_length=64)
    observed_generation: int = Field(ge=0)


class RoleStatus(ApiModel):
    desired: int = Field(ge=0)
    ready: int = Field(ge=0)


class Roles(ApiModel):
    trainer: RoleStatus | None = None
    rollout: RoleStatus | None = None
    user: RoleStatus | None = None
    coordinator: RoleStatus | None = None


class WeightsStatus(ApiModel):
    published: int = Field(ge=0)
    adopted_min: int = Field(ge=0)
    adopted_max: int = Field(ge=0)
    engines: int = Field(ge=0)


class CheckpointStatus(ApiModel):
    version: int = Field(ge=0)
    step: int = Field(ge=0)
    time: str = Field(max_length=64)
    bytes: int = Field(ge=0)


class Throughput(ApiModel):
    generated: float = Field(ge=0)
    trained: float = Field(ge=0)


class EvaluationResult(ApiModel):
    """pass^k of one evaluation stage on one domain (or `average`), in percent."""

    stage: str = Field(max_length=40)
    domain: str = Field(max_length=64)
    tasks: int = Field(ge=0)
    episodes: int = Field(ge=0)
    pass_hat1: float
    pass_hat2: float | None = None
    pass_hat3: float | None = None
    pass_hat4: float | None = None
    pass_at4: float | None = None


class Restarts(ApiModel):
    counted: int = Field(default=0, ge=0)
    uncounted: int = Field(default=0, ge=0)


class Failure(ApiModel):
    role: str = Field(max_length=32)
    cause: str = Field(max_length=64)
    message: str = Field(max_length=4096)
    time: str = Field(max_length=64)


class Status(ApiModel):
    observed_generation: int = Field(default=-1)
    conditions: list[Condition] = Field(default=[], max_length=16)
    stage: str | None = Field(default=None, max_length=64)
    step: int | None = Field(default=None, ge=0)
    total_steps: int | None = Field(default=None, ge=0)
    progress: str | None = Field(default=None, max_length=64)
    """`step/totalSteps` of the running stage, for the printer column."""
    generation: int | None = Field(default=None, ge=0)
    """Attempt number of the trainer."""
    reward: float | None = None
    """Mean reward of the newest training batch, all groups counted."""
    pass1: str | None = Field(default=None, max_length=16)
    """Newest pass^1 in percent, averaged over domains."""
    weights: WeightsStatus | None = None
    checkpoint: CheckpointStatus | None = None
    roles: Roles | None = None
    throughput: Throughput | None = None
    """Tokens a second, generated and trained."""
    remaining_seconds: int | None = Field(default=None, ge=0)
    staleness: float | None = None
    """Mean versions by which the newest batch lagged."""
    evaluation: list[EvaluationResult] = Field(default=[], max_length=256)
    goodput: str | None = Field(default=None, max_length=16)
    """Share of the time since the first step that produced steps which count, in percent."""
    restarts: Restarts | None = None
    last_failure: Failure | None = None
    run_url: str | None = Field(default=None, max_length=1024)
    """Where this run keeps its objects."""
    start_time: str | None = Field(default=None, max_length=64)
    completion_time: str | None = Field(default=None, max_length=64)
