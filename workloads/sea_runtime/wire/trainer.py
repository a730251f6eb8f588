"""What a training process asks of the coordinator, and what it reports."""

from enum import StrEnum

from pydantic import Field

from sea_api.v1alpha1.job import Spec
from sea_runtime.wire.base import Message, Part
from sea_runtime.wire.checkpoints import Entry

MAX_FAILURE = 1000
"""Characters of a failure that is reported."""


class TaskKind(StrEnum):
    IDLE = "Idle"
    """Nothing to train now (an evaluation runs, data is prepared): ask again."""
    SFT = "SFT"
    RL = "RL"
    STOP = "Stop"
    """Commit a checkpoint of the running stage and exit with code 0."""


class Origin(Message):
    """A checkpoint of another run, read only."""

    run_url: str
    step: int
    entry: Entry | None = None
    """The checkpoint that the ledger goes on from, whatever the other run's head names by now. None
    from a coordinator of an older release, which named the step only."""


class TrainerTask(Message):
    """`GET /v1/trainer/task?attempt=G`: what to train now (409 if G is not current)."""

    kind: TaskKind
    stage: str = ""
    stage_index: int = 0
    stream: str = "policy"
    """Weight stream that the stage trains: `policy` or `user`."""
    initial_model: str = ""
    """`s3://` HF folder to start from if the stage has no checkpoint yet."""
    origin: Origin | None = None
    """What the stage goes on from while it has no checkpoint of its own; None: `initial_model`."""
    run_url: str = ""
    first_version: int = 0
    """Version number of the stream before the stage; RL step i publishes first_version + i."""
    spec: Spec | None = None
    """As it is in force now: the trainer asks again before every step, and follows an edit."""
    spec_generation: int = 0
    """`metadata.generation` that `spec` is of."""
    store_versions: bool = False
    """True if an engine of the stream can't read from the trainer: every version then goes to the
    object store too."""
    ledger_epoch: str = ""
    """Changes when the coordinator's ledger is restored: the restored one may not know the version
    that this attempt serves, so rank 0 publishes it again."""


class StageProgress(Message):
    """`POST /v1/stages/{stage}/progress`: one finished optimizer step."""

    attempt: int
    step: int
    total_steps: int
    spec_generation: int = 0
    """Generation of the spec that the step followed."""
    metrics: dict[str, float]
    """loss, learning_rate, grad_norm, tokens, plus seconds as `*_s`; RL: reward, staleness, ..."""


class BackgroundWork(StrEnum):
    """What a trainer does next to training; most important first."""

    CHECKPOINT = "Checkpoint"
    WEIGHTS = "Weights"
    """Copies of weight versions in the object store."""
    EXPORT = "Export"


class BackgroundFailure(Part):
    work: BackgroundWork
    message: str = Field(max_length=MAX_FAILURE)
    """Sentences: what failed, on which ranks, why."""


class BackgroundFailures(Message):
    """`POST /v1/stages/{stage}/failures`: all that fails next to training now.

    Sent every second while anything does, then once without any.
    """

    attempt: int
    failures: list[BackgroundFailure] = Field(max_length=len(BackgroundWork))


class StageDone(Message):
    """`POST /v1/stages/{stage}/done`: the last step is published, exported and committed."""

    attempt: int
    step: int
    spec_generation: int = 0
    """Generation of the spec by which the stage ended."""


class LedgerSnapshot(Message):
    """Reply of `POST /v1/stages/{stage}/snapshot?step=N`: an object that the manifest names."""

    key: str
    size: int
    sha256: str


class CheckpointCommitted(Message):
    """`POST /v1/stages/{stage}/checkpoints`: the head object now names this checkpoint."""

    attempt: int
    step: int
    version: int
    bytes: int
    manifest_key: str
