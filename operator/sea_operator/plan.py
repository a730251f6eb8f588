"""What a pass decided: the job's lifecycle, and the writes that follow from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from sea_api.v1alpha1.policy import Role
from sea_api.v1alpha1.status import Failure, PodFailure, Restarts, RollbackRequest
from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_operator.elasticity import NO_RANGES, Elasticity
from sea_operator.kube.client import Kind
from sea_operator.observed import Blocker
from sea_operator.pods import Pod

Object = dict[str, Any]


class Outcome(Enum):
    """Whether the job is over."""

    RUNNING = "Running"
    COMPLETE = "Complete"
    FAILED = "Failed"


class Suspension(Enum):
    """Phase of a suspension."""

    NONE = "None"
    DRAINING = "Draining"
    RELEASING = "Releasing"
    """Nothing is waited for any more but the end of the pods."""
    RELEASED = "Released"

    @property
    def releases(self) -> bool:
        """Whether all roles are at size 0."""
        return self in (Suspension.RELEASING, Suspension.RELEASED)


@dataclass(frozen=True)
class Lifecycle:
    """Where the job is in its lifecycle: the part of a plan that the status reports."""

    blocker: Blocker | None = None
    """What a user must change (`Stalled`), or what is tried again (`Reconciling`)."""
    warning: Blocker | None = None
    """What the coordinator goes on trying; the job isn't `Ready` meanwhile."""
    outcome: Outcome = Outcome.RUNNING
    failed: Blocker | None = None
    """With `Outcome.FAILED`: why."""
    suspension: Suspension = Suspension.NONE
    stage_index: int | None = None
    attempt: int = 1
    fenced: tuple[str, ...] = ()
    """Uids of pods on dead nodes; a new attempt makes their writes invalid."""
    restarts: Restarts = field(default_factory=Restarts)
    last_failure: Failure | None = None
    recent_failures: tuple[PodFailure, ...] = ()
    """Failures of the trainer within a day."""
    replicas: Mapping[Role, int] = field(default_factory=dict)
    """Pods that each role's StatefulSet asks for."""
    working: Mapping[Role, int] = field(default_factory=dict)
    """Pods that each role works with, of those that its StatefulSet asks for."""
    elastic: Elasticity = NO_RANGES
    """Sizes of the roles that have a range."""
    keeps_layout: bool = False
    """The trainer's pods stay as they are until the coordinator has checked an edit of their
    layout."""
    checking: bool = False
    """Pods with GPUs wait for the coordinator's check of data, endpoints and models."""
    frozen: frozenset[Role] = frozenset()
    """Roles that get no further pods and keep those that they have: something that a new pod
    needs is missing."""
    inherited: tuple[str, ...] = ()
    """Why this operator would refuse patches that another revision took, a sentence each."""
    later: tuple[str, ...] = ()
    """What the job lacks for other stages than the one that runs, a sentence each."""
    secrets: Mapping[Role, str] = field(default_factory=dict)
    """Digests of the Secrets that each role's pods are started with."""
    renewed: tuple[Pod, ...] = ()
    """Pods that are replaced because their Secrets have other values now."""
    rollback: RollbackRequest | None = None
    """How far `spec.checkpoint.rollbackTo` is."""
    note: str | None = None
    """What a person should know although nothing is wrong."""

    @property
    def over(self) -> bool:
        """True if nothing more will run."""
        return self.outcome is not Outcome.RUNNING


@dataclass(frozen=True)
class Removal:
    """A deletion, with the uid as its precondition."""

    kind: Kind
    name: str
    uid: str
    grace_seconds: int | None = None


@dataclass(frozen=True)
class Plan:
    """Everything that `apply` and `report` do, in this order."""

    lifecycle: Lifecycle
    secret: Object | None = None
    """The auth Secret to create."""
    applies: tuple[Object, ...] = ()
    """Children to apply on the server."""
    removals: tuple[Removal, ...] = ()
    coordinator_spec: CoordinatorSpec | None = None
    """What the coordinator should work on."""
    send: bool = False
    """Whether to send it. Sent after the status write, so that a restart is never counted twice."""
    renewals: tuple[Removal, ...] = ()
    """Pods that take the new values of their Secrets, deleted after the status has recorded the
    attempt that they start."""
    fenced_removals: tuple[Removal, ...] = ()
    """Pods of dead nodes, force-deleted after the status has recorded a new attempt."""
    update_waits: str | None = ""
    """Sentence about pods that keep an older template, empty if none does; None: not looked at."""
    requeue: float = 1.0
    """Seconds until the next pass if nothing happens."""
