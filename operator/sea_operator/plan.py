"""What a pass decided: the job's lifecycle, and the writes that bring the world there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from sea_api.v1alpha1.policy import Role
from sea_api.v1alpha1.status import Failure, Restarts
from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_operator.kube.kinds import Kind

Object = dict[str, Any]


class Outcome(Enum):
    """Whether the job is over."""

    RUNNING = "Running"
    COMPLETE = "Complete"
    FAILED = "Failed"


class Suspension(Enum):
    """How far a suspended job is."""

    NONE = "None"
    DRAINING = "Draining"
    RELEASED = "Released"


@dataclass(frozen=True)
class Blocker:
    """Why the job can't go on without a person; becomes a condition."""

    reason: str
    message: str


@dataclass(frozen=True)
class Lifecycle:
    """Where the job stands and goes: the part of a plan that the status tells."""

    blocker: Blocker | None = None
    """Something that a person must change; `Stalled`."""
    outcome: Outcome = Outcome.RUNNING
    failed: Blocker | None = None
    """With `Outcome.FAILED`: why."""
    suspension: Suspension = Suspension.NONE
    stage_index: int | None = None
    attempt: int = 1
    fenced: tuple[str, ...] = ()
    """Uids of pods on dead nodes whose attempt is left behind."""
    restarts: Restarts = field(default_factory=Restarts)
    last_failure: Failure | None = None
    replicas: Mapping[Role, int] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        """Whether nothing more is going to run."""
        return self.outcome is not Outcome.RUNNING


@dataclass(frozen=True)
class Removal:
    """A deletion with the uid it's meant for."""

    kind: Kind
    name: str
    uid: str
    grace_seconds: int | None = None


@dataclass(frozen=True)
class Plan:
    """Everything that `apply` does and `report` tells, in this order of execution."""

    lifecycle: Lifecycle
    secret: Object | None = None
    """The auth Secret to create."""
    applies: tuple[Object, ...] = ()
    """Children to apply on the server."""
    removals: tuple[Removal, ...] = ()
    coordinator_spec: CoordinatorSpec | None = None
    """What the coordinator should know."""
    send: bool = False
    """Whether it has to be told; happens after the status was written, so that a restart that was
    counted is never counted again."""
    fenced_removals: tuple[Removal, ...] = ()
    """Pods of dead nodes, removed by force after their attempt was left behind in the status."""
    requeue: float = 1.0
    """Seconds until the next pass if nothing happens."""
