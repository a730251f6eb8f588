"""What the operator reports: kstatus conditions, progress, weight versions, scores."""

from typing import Annotated

from pydantic import Field

from sea_api.v1alpha1.base import ApiModel
from sea_api.v1alpha1.domains import LONGEST
from sea_api.v1alpha1.elastic_status import ElasticStatus
from sea_api.v1alpha1.types import Count, Int, Number, Percent, Timestamp

Score = Annotated[Number, Field(ge=-1e9, le=1e9)]
Uid = Annotated[str, Field(max_length=64)]
Image = Annotated[str, Field(max_length=1024)]


class Condition(ApiModel):
    """One aspect of the job's state, as kstatus and `kubectl wait` read it."""

    type: str = Field(max_length=64)
    """`Ready`, `Reconciling`, `Stalled`, `Suspended`, `Complete` or `Failed`."""
    status: str = Field(max_length=16)
    """`True`, `False` or `Unknown`."""
    reason: str = Field(max_length=128)
    """CamelCase word for programs, for example `SecretNotFound`."""
    message: str = Field(max_length=4096)
    """Sentence for people: what holds, and what to do about it."""
    last_transition_time: Timestamp
    """When `status` last changed."""
    observed_generation: Count
    """`metadata.generation` that this condition describes."""


class RoleStatus(ApiModel):
    """Pods of one role."""

    desired: Count
    """Pods that should run."""
    ready: Count
    """Pods that are Ready."""


class Roles(ApiModel):
    """Pods of the job, by role."""

    trainer: RoleStatus | None = None
    """Trainer pods."""
    rollout: RoleStatus | None = None
    """Rollout pods."""
    user: RoleStatus | None = None
    """User-model pods."""
    coordinator: RoleStatus | None = None
    """Coordinator pod."""


class WrongWeightsStatus(ApiModel):
    """An engine that held other weights than a version's after an update, and was restarted."""

    pod: str = Field(max_length=253)
    """Pod of the engine."""
    version: Count
    """Version that it was updated to."""
    tensors: list[Annotated[str, Field(max_length=512)]] = Field(max_length=8)
    """Some of the tensors that differed."""
    time: Timestamp
    """When it was noticed."""


class WeightsStatus(ApiModel):
    """Weight versions of the policy."""

    published: Count
    """Newest version the trainer published."""
    adopted_min: Count
    """Oldest version an engine serves."""
    adopted_max: Count
    """Newest version an engine serves."""
    engines: Count
    """Engines that serve the policy."""
    transport: str | None = Field(default=None, max_length=512)
    """How the engines got their newest versions (`Peer`, `NIXL`, `Delta` or `ObjectStore`, the last
    two of the object store), and why not from the trainer; absent before the first version."""
    last_wrong: WrongWeightsStatus | None = None
    """The last engine whose weights were found wrong after an update; absent if none ever was."""


class CheckpointStatus(ApiModel):
    """Newest committed checkpoint."""

    stage: str | None = Field(default=None, max_length=64)
    """Stage that it was taken in."""
    version: Count
    """Weight version it belongs to."""
    step: Count
    """Optimizer step of that stage it was taken after."""
    time: Timestamp
    """When it was committed."""
    bytes: Count
    """Its size in the object store."""


class Throughput(ApiModel):
    """Tokens per second."""

    generated: Number = Field(ge=0, le=1e15)
    """Tokens the engines generated, per second."""
    trained: Number = Field(ge=0, le=1e15)
    """Tokens the trainer trained on, per second."""


class EvaluationResult(ApiModel):
    """pass^k of one evaluation stage on one domain (or `average`), in percent."""

    stage: str = Field(max_length=40)
    """Name of the evaluation stage."""
    domain: str = Field(max_length=LONGEST)
    """Domain, or `average` over all."""
    tasks: Count
    """Tasks evaluated."""
    episodes: Count
    """Episodes with a verdict: not those in which the agent never had a turn."""
    pass_hat1: Percent
    """Share of tasks solved in one trial, in percent."""
    pass_hat2: Percent | None = None
    """Share of tasks solved in all of two trials, in percent."""
    pass_hat3: Percent | None = None
    """Share of tasks solved in all of three trials, in percent."""
    pass_hat4: Percent | None = None
    """Share of tasks solved in all of four trials, in percent."""
    pass_at4: Percent | None = None
    """Share of tasks solved in at least one of four trials, in percent."""


class Restarts(ApiModel):
    """Restarts since the job began."""

    counted: Count = 0
    """Restarts taken from the budget."""
    uncounted: Count = 0
    """Restarts that infrastructure caused."""
    recent: list[Count] = Field(default=[], max_length=1000)
    """Counted restarts within the budget's window, newest last, in unix seconds."""


class Failure(ApiModel):
    """The newest failure."""

    role: str = Field(max_length=32)
    """Role of the pod."""
    cause: str = Field(max_length=64)
    """Cause, as in `failurePolicy.rules`."""
    message: str = Field(max_length=4096)
    """What happened."""
    pod: str | None = Field(default=None, max_length=253)
    """Pod that failed first; it may no longer exist."""
    log: str | None = Field(default=None, max_length=2048)
    """Where the end of its log is kept in the object store; absent if it could not be kept."""
    time: Timestamp
    """When it was noticed."""


class PodFailure(ApiModel):
    """A failure of the trainer within the last day."""

    pod: str = Field(max_length=253)
    """Pod that failed first."""
    node: str | None = Field(default=None, max_length=253)
    """Node that it was on; absent if that isn't known."""
    cause: str = Field(max_length=64)
    """Cause, as in `failurePolicy.rules`."""
    time: Timestamp
    """When it was noticed."""


class SpecEdit(ApiModel):
    """The newest edit of the running job."""

    generation: Count
    """`metadata.generation` that it made."""
    message: str = Field(max_length=1024)
    """Which fields, and from which step of which stage they hold."""


class Rollback(ApiModel):
    """Training, ledger and weights went back to an older checkpoint."""

    stage: str = Field(max_length=64)
    """Stage that went back."""
    from_step: Count
    """Step of its newest checkpoint before that; it was damaged, or a person chose an older one."""
    step: Count
    """Step that the stage goes on from; 0 is its beginning."""
    time: Timestamp
    """When the ledger followed."""


class RollbackRequest(ApiModel):
    """What `spec.checkpoint.rollbackTo` asks for, and how far it is."""

    stage: str = Field(max_length=64)
    """Stage that goes back."""
    step: Count
    """Step of the checkpoint."""
    generation: Count
    """`metadata.generation` that asked for it first: tells a value that is set again from one that
    was done."""
    state: str = Field(max_length=32)
    """`Checking`: the coordinator looks whether the checkpoint is sound. `Refused`: it isn't, and
    nothing was stopped for it. `GoingBack`: a new attempt begins with it. `Done`."""
    message: str = Field(default="", max_length=1024)
    """Why it is refused."""
    attempt: Count | None = None
    """Trainer attempt that goes back; absent while it is checked."""


class Status(ApiModel):
    """What the operator last saw; only the operator writes it."""

    observed_generation: Int = Field(default=-1, ge=-1, le=2**53 - 1)
    """`metadata.generation` that this status describes; -1 until the operator has seen the job."""
    conditions: list[Condition] = Field(
        default=[],
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    """State of the job in kstatus terms."""
    operator: str | None = Field(default=None, max_length=320)
    """Lease, as `NAMESPACE/NAME`, of the operator that writes this status."""
    state: str | None = Field(default=None, max_length=160)
    """`Running`, `Suspended`, `Complete` or `Failed`; `Waiting` or `Stalled` with the reason of the
    condition `Ready` after a colon."""
    stage: str | None = Field(default=None, max_length=64)
    """Stage that runs or ran last."""
    stages_begun: Count | None = Field(default=None, le=32)
    """How many of `spec.stages`, from the first on, have begun: what they were made from is
    fixed."""
    stages_ended: Count | None = Field(default=None, le=32)
    """How many of them have ended: their settings are fixed."""
    last_edit: SpecEdit | None = None
    """The newest edit of the running job, and from which step it holds."""
    last_rollback: Rollback | None = None
    """The last time that the job went back to an older checkpoint; absent if it never has."""
    rollback: RollbackRequest | None = None
    """The request of `spec.checkpoint.rollbackTo`; absent without one."""
    step: Count | None = None
    """Optimizer steps (or finished episodes of an evaluation) of the stage."""
    total_steps: Count | None = None
    """Total steps of the stage."""
    progress: str | None = Field(default=None, max_length=64)
    """`step/totalSteps` of the running stage, for the printer column."""
    trainer_attempt: Count | None = None
    """Attempt number of the trainer."""
    failed_spec: str | None = Field(default=None, max_length=64)
    """Digest of the spec that failed, without `suspend` and `rollout.replicas`. A job with another
    one starts again."""
    fenced: list[Uid] | None = Field(
        default=None, max_length=10001, json_schema_extra={"x-kubernetes-list-type": "set"}
    )
    """Uids of pods on dead nodes for which `trainerAttempt` was raised, until the pods are gone."""
    reward: Score | None = None
    """Mean reward of the newest training batch, including dropped groups."""
    pass1: str | None = Field(default=None, max_length=16)
    """Newest pass^1 in percent, averaged over domains."""
    weights: WeightsStatus | None = None
    """Weight versions of the policy."""
    checkpoint: CheckpointStatus | None = None
    """Newest committed checkpoint."""
    roles: Roles | None = None
    """Pods by role."""
    elastic: ElasticStatus | None = None
    """Sizes of the roles that have an elastic range; absent if none has."""
    rollout_selector: str | None = Field(default=None, max_length=512)
    """Label selector of the rollout pods, for the scale subresource."""
    throughput: Throughput | None = None
    """Tokens per second, generated and trained."""
    remaining_seconds: Count | None = None
    """Estimated time until the stage ends."""
    staleness: Score | None = None
    """Mean versions by which the newest batch lagged."""
    skipped_rows: Count | None = None
    """Broken rows of the job's data that are left out (`onBadRow: Skip`)."""
    evaluation: list[EvaluationResult] = Field(
        default=[],
        max_length=544,  # of 32 stages, 16 domains and their average each
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["stage", "domain"],
        },
    )
    """Scores of all evaluation stages so far."""
    goodput: str | None = Field(default=None, max_length=16)
    """Share of the time since the first step that went into steps that count, in percent."""
    restarts: Restarts | None = None
    """Restarts since the job began."""
    last_failure: Failure | None = None
    """The newest failure."""
    recent_failures: list[PodFailure] = Field(default=[], max_length=32)
    """Failures of the trainer within the last day, newest last: what comes back is answered by
    more than a restart, and a node with two of them is avoided."""
    images: dict[str, Image] | None = Field(default=None, max_length=16)
    """Image that each role's newest pod ran, with the digest that its node resolved."""
    run_url: str | None = Field(default=None, max_length=1280)
    """Folder in the object store that keeps all objects of this run."""
    model_url: str | None = Field(default=None, max_length=1344)
    """Hugging Face folder of the agent's newest finished model: what the last `SFT` or `RL` stage
    that has ended exported. Absent before the first one ends."""
    start_time: Timestamp | None = None
    """When the operator first acted on the job."""
    completion_time: Timestamp | None = None
    """When the job completed or failed."""
