"""How a job keeps what it made and what it does when something breaks."""

from enum import StrEnum

from pydantic import Field

from sea_api.v1alpha1.base import ApiModel


class Transport(StrEnum):
    AUTO = "Auto"
    NIXL = "Nixl"
    OBJECT_STORE = "ObjectStore"


class Role(StrEnum):
    TRAINER = "Trainer"
    ROLLOUT = "Rollout"
    USER = "User"
    COORDINATOR = "Coordinator"


class Cause(StrEnum):
    PROCESS_EXIT = "ProcessExit"
    HANG = "Hang"
    OUT_OF_MEMORY = "OutOfMemory"
    EVICTION = "Eviction"
    NODE_LOSS = "NodeLoss"
    ANY = "Any"


class Action(StrEnum):
    RESTART_PROCESS = "RestartProcess"
    RESTART_POD = "RestartPod"
    RESTART_ROLE = "RestartRole"
    RESIZE = "Resize"
    FAIL_JOB = "FailJob"


class Weights(ApiModel):
    transport: Transport = Transport.AUTO
    """`Auto` pulls over NIXL while the trainer lives and from the object store otherwise."""
    anchor_every: int = Field(default=20, ge=1, le=100000)
    """Versions between two full copies in the object store."""
    retain: int = Field(default=3, ge=1, le=1000)
    """Full copies kept in the object store."""


class Checkpoint(ApiModel):
    every_steps: int = Field(default=10, ge=1, le=1000000)
    keep_last: int = Field(default=2, ge=1, le=1000)
    keep_every: int | None = Field(default=None, ge=1, le=100000000)
    """Also keep every checkpoint whose step is a multiple of this."""
    max_staging_bytes: int = Field(default=68719476736, ge=1048576, le=1099511627776)
    """Most host memory a pod may hold for an upload, in bytes."""


class FailureRule(ApiModel):
    role: Role
    cause: Cause = Cause.ANY
    action: Action
    counts: bool = True
    """Whether the restart is taken from the budget."""


class RestartBudget(ApiModel):
    restarts: int = Field(default=10, ge=0, le=100000)
    window_seconds: int = Field(default=3600, ge=1, le=2592000)


class FailurePolicy(ApiModel):
    """First matching rule wins; without one the operator's own table applies."""

    rules: list[FailureRule] = Field(default=[], max_length=32)
    budget: RestartBudget = RestartBudget()
