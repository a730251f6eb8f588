"""How a job keeps what it made and what it does when something breaks."""

from enum import StrEnum

from pydantic import Field

from sea_api.v1alpha1.base import ApiModel
from sea_api.v1alpha1.types import Bool, Int


class Transport(StrEnum):
    AUTO = "Auto"
    NIXL = "NIXL"
    OBJECT_STORE = "ObjectStore"


class Role(StrEnum):
    TRAINER = "Trainer"
    ROLLOUT = "Rollout"
    USER = "User"
    COORDINATOR = "Coordinator"


class Cause(StrEnum):
    """Why a pod failed. A `UserError` stalls the job until its spec is edited."""

    PROCESS_EXIT = "ProcessExit"
    HANG = "Hang"
    OUT_OF_MEMORY = "OutOfMemory"
    EVICTION = "Eviction"
    NODE_LOSS = "NodeLoss"
    USER_ERROR = "UserError"
    """Restarting can't help: a layout that doesn't fit, a wrong model folder, missing access."""
    ANY = "Any"


class Action(StrEnum):
    RESTART_PROCESS = "RestartProcess"
    RESTART_POD = "RestartPod"
    RESTART_ROLE = "RestartRole"
    RESIZE = "Resize"
    FAIL_JOB = "FailJob"


class Weights(ApiModel):
    """How weight versions travel from the trainer to the engines."""

    transport: Transport = Transport.AUTO
    """`Auto` pulls over NIXL while the trainer lives and from the object store otherwise."""
    anchor_every: Int = Field(default=20, ge=1, le=100000)
    """Versions between two full copies in the object store."""
    retain: Int = Field(default=3, ge=1, le=1000)
    """Full copies kept in the object store."""


class Checkpoint(ApiModel):
    """When training state is committed to the object store and how long it stays."""

    every_steps: Int = Field(default=10, ge=1, le=1000000)
    """Optimizer steps between two checkpoints; a stage's last step always gets one."""
    keep_last: Int = Field(default=2, ge=1, le=1000)
    """Newest checkpoints kept per stage."""
    keep_every: Int | None = Field(default=None, ge=1, le=100000000)
    """Also keep every checkpoint whose step is a multiple of this."""
    max_staging_bytes: Int = Field(default=68719476736, ge=1048576, le=1099511627776)
    """Most host memory a pod may hold for an upload, in bytes."""


class FailureRule(ApiModel):
    """What to do when `cause` befalls a pod of `role`."""

    role: Role
    """Role the rule is about."""
    cause: Cause = Cause.ANY
    """Cause the rule is about; `Any` matches every one except `UserError`."""
    action: Action
    """What happens, from small to large: process, pod, role, trainer size, the whole job."""
    counts: Bool = True
    """Whether the restart is taken from the budget."""


class RestartBudget(ApiModel):
    """How many counted restarts a job survives within a time."""

    restarts: Int = Field(default=10, ge=0, le=1000)
    """Counted restarts allowed within the window; one more fails the job."""
    window_seconds: Int = Field(default=3600, ge=1, le=2592000)
    """Length of the sliding window in seconds."""


class FailurePolicy(ApiModel):
    """First matching rule wins; without one the operator's own table applies."""

    rules: list[FailureRule] = Field(default=[], max_length=32)
    """Rules in order of precedence."""
    budget: RestartBudget = RestartBudget()
    """Restarts that the job may use up."""
