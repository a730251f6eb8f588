"""`GET /v1/state`: everything that the operator learns about the data plane, in one read."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BeforeValidator

from sea_api.lenient import OfAnyRelease
from sea_api.v1alpha1.base import ApiModel
from sea_api.v1alpha1.policy import Cause
from sea_api.v1alpha1.status import (
    CheckpointStatus,
    EvaluationResult,
    Rollback,
    SpecEdit,
    WeightsStatus,
)


class StagePhase(StrEnum):
    PENDING = "Pending"
    RUNNING = "Running"
    COMPLETE = "Complete"


class Severity(StrEnum):
    ERROR = "Error"
    """Nothing goes on until a person changes something: the job is `Stalled`."""
    WARNING = "Warning"
    """Tried again, or work goes on without result: an outage, episodes that teach nothing. The job
    isn't `Ready`, but nothing waits for a person."""


class Problem(ApiModel):
    """Why the job can't go on, or goes on to no purpose."""

    reason: str
    """CamelCase, e.g. DataNotFound, BadRow, UnknownDomain, BadDatabasePath."""
    message: str
    """A sentence: what is wrong, where, what to change."""
    severity: Severity = Severity.ERROR


def _known_cause(cause: Any) -> Any:
    """A cause that this release doesn't know counts as an exit; the rest of the state is read."""
    return cause if cause in list(Cause) else Cause.PROCESS_EXIT


class Fit(StrEnum):
    """Whether a job's memory suffices, by its plan."""

    FITS = "Fits"
    TIGHT = "Tight"
    """Within the plan's own error of what there is."""
    DOES_NOT_FIT = "DoesNotFit"


class PlanVerdict(ApiModel):
    """What the coordinator's plan of the job says."""

    fit: Fit
    message: str
    """Sentences with numbers."""


class RollbackCheck(ApiModel):
    """Whether the checkpoint that was asked for can be gone back to."""

    generation: int
    """Generation of the request, as in `RollbackOrder`."""
    problem: str = ""
    """Why it can't, as a sentence; empty if it can."""
    done: bool = False
    """It was gone back to."""


class TrainerFailure(ApiModel):
    """A training process of `attempt` failed; the operator decides what follows."""

    attempt: int
    pod: str
    cause: Annotated[Cause, BeforeValidator(_known_cause)]
    message: str
    time: float
    """Unix seconds."""
    spec_generation: int = 0
    """`metadata.generation` of the resource that the attempt ran."""


class StageState(ApiModel):
    name: str
    phase: StagePhase
    step: int = 0
    total_steps: int = 0
    remaining_seconds: float | None = None


class CoordinatorState(OfAnyRelease):
    spec_digest: str | None = None
    uid: str | None = None
    attempt: int = 0
    stages: list[StageState] = []
    problem: Problem | None = None
    prepared: bool | None = None
    """Whether data, endpoints and models of the running stage are checked, so that pods with GPUs
    may start; None from a coordinator that doesn't say."""
    trainer_failure: TrainerFailure | None = None
    """Newest failure of the current attempt, if any."""
    rank_pods: list[str] | None = None
    """Trainer pods that hold the ranks of `attempt`, the first rank's first; empty until all of
    them have called. None from a coordinator that doesn't say: it knows no sizes of an elastic
    trainer either."""
    resized_attempt: int = 0
    """The attempt that has ended with a checkpoint because another trainer size was asked for."""
    drained: bool = False
    """True once a drain was requested, a checkpoint is committed and no trainer runs."""
    weights: WeightsStatus | None = None
    checkpoint: CheckpointStatus | None = None
    reward: float | None = None
    staleness: float | None = None
    generated_tokens_per_second: float | None = None
    trained_tokens_per_second: float | None = None
    goodput: float | None = None
    """0 to 1."""
    evaluation: list[EvaluationResult] = []
    edit: SpecEdit | None = None
    rollback: Rollback | None = None
    rollback_check: RollbackCheck | None = None
    """None until the newest request was looked at."""
    model_url: str | None = None
    """Hugging Face folder that the newest complete stage of the policy exported."""
    plan: PlanVerdict | None = None
    """None until it is made, or if neither models nor GPUs are known."""
    skipped_rows: dict[str, int] | None = None
    """Rows of the data that were left out (`onBadRow: Skip`), by reason; None until checked."""
