"""What one pass observed of a job and its children; frozen, so that decisions can't change it."""

import functools
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import orjson

from sea_api import lenient
from sea_api.contract import HASH_LABEL, ROLE_LABEL, role_label, role_name
from sea_api.v1alpha1.elastic_status import ElasticRole
from sea_api.v1alpha1.job import KIND, Spec
from sea_api.v1alpha1.names import MANAGER
from sea_api.v1alpha1.policy import Role
from sea_api.v1alpha1.status import Status
from sea_api.wire.coordinator_spec import NodeGpu
from sea_api.wire.state import CoordinatorState
from sea_operator.pods import Pod

Object = dict[str, Any]
Named = tuple[str, str]
"""Kind and name of a child."""
V = TypeVar("V")


class Same(Generic[V]):
    """A key of a cache: equal only for the very same value, which never changes.

    A spec is parsed once per generation. To hash or compare it field by field would cost more than
    most of what is computed from it.
    """

    __slots__ = ("value",)

    def __init__(self, value: V) -> None:
        self.value = value  # kept: the identity of a value that is gone may be another's

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


@dataclass(frozen=True)
class Blocker:
    """Why the job isn't as its spec asks: a word for programs and a sentence; a condition."""

    reason: str
    message: str
    transient: bool = False
    """Tried again by itself; any other waits for a person."""


@dataclass(frozen=True)
class Job:
    """The resource, parsed as far as it parses."""

    name: str
    namespace: str
    uid: str
    generation: int
    resource_version: str
    spec: Spec | None
    status: Status
    invalid: str | None = None
    """Why `spec` is None, as a sentence."""
    stored_status: Mapping[str, Any] = field(default_factory=dict)
    """The status as the API server holds it, to see whether a write is due."""
    ignored_spec: tuple[str, ...] = ()
    """Fields of the spec that this release doesn't know, as `spec.x`."""
    broken_rules: tuple[str, ...] = ()
    """Rules that the spec breaks, a sentence each: another release admitted the job."""
    foreign: frozenset[lenient.Path] = frozenset()
    """Paths of fields of `stored_status` that this release doesn't know."""
    deleting: bool = False
    finalizers: tuple[str, ...] = ()
    applied: int = 0
    """Hash of the annotation that `dropped` was read from."""
    dropped: tuple[str, ...] = ()
    """Fields of the applied file that the API server dropped or defaulted, a sentence each."""
    managed_by: str = MANAGER
    """`spec.managedBy`; with another value the job is another controller's."""

    @property
    def ignored(self) -> tuple[str, ...]:
        """All fields that this release doesn't know."""
        status = (lenient.text(("status", *path)) for path in self.foreign)
        # Sorted: another order would be another message, and a write.
        return (*sorted(self.ignored_spec), *sorted(status))

    @property
    def holders(self) -> tuple[str, ...]:
        """Finalizers of others (billing, a backup) that hold a job which is being deleted.

        Kubernetes' own take seconds, and `orphan` asks for the children to stay.
        """
        if not self.deleting or "orphan" in self.finalizers:
            return ()
        return tuple(name for name in self.finalizers if name != "foregroundDeletion")

    @property
    def is_new(self) -> bool:
        """Whether no pass over it has written a status."""
        return self.status.observed_generation < 0

    @property
    def gone(self) -> bool:
        """Whether it is left to the garbage collector."""
        return self.deleting and not self.holders

    def elastic(self, role: Role) -> ElasticRole | None:
        """Where an elastic role stood in the last status; None for one without a range."""
        last = self.status.elastic
        return getattr(last, role_label(role), None) if last else None


@dataclass(frozen=True)
class Child:
    """A StatefulSet or Service, without what the operator doesn't compare."""

    uid: str
    body: bytes
    """JSON: thousands of them as Python objects would take several times the memory."""
    jobs: tuple[tuple[str, str], ...] = ()
    """Name and uid of each SEATrainingJob that owns it. Every pass asks, so it isn't read from the
    JSON each time."""


# Those of jobs that change just now: a pass may follow in a second. Shared, so nobody changes them.
@functools.lru_cache(maxsize=512)
def _read(body: bytes) -> Object:
    return dict(orjson.loads(body))


class Children(Mapping[Named, Object]):
    """Children by kind and name; each is read from its JSON when somebody looks at it."""

    def __init__(self, children: Mapping[Named, Child]) -> None:
        self._children = children

    def __getitem__(self, key: Named) -> Object:
        return _read(self._children[key].body)

    def __iter__(self) -> Iterator[Named]:
        return iter(self._children)

    def __len__(self) -> int:
        return len(self._children)

    def __contains__(self, key: object) -> bool:
        return key in self._children


@dataclass(frozen=True)
class SecretSeen:
    """What the operator keeps of a Secret that the job names: never a value."""

    keys: frozenset[str]
    digest: str = ""
    """Another text for other values."""
    flaws: Mapping[str, str] = field(default_factory=dict)
    """What makes a key's value unusable, such as a line break at its end, by key."""


@dataclass(frozen=True)
class GPUNode:
    """A node that has GPUs."""

    labels: Mapping[str, str]
    gpus: int


@dataclass(frozen=True)
class Observed:
    """Everything that a pass decides by."""

    job: Job
    children: Mapping[Named, Object] = field(default_factory=dict)
    """Live StatefulSets and Services that carry our label or a name that we need."""
    accepted: Mapping[Named, str] = field(default_factory=dict)
    """Digests of what was applied, of children that are as the API server answered then."""
    pods: tuple[Pod, ...] = ()
    secrets: Mapping[str, SecretSeen] = field(default_factory=dict)
    """The Secrets that exist among those the job needs."""
    foreign_secret: bool = False
    """The job's auth Secret exists but isn't the job's."""
    broken_secret: bool = False
    """The job's auth Secret exists but holds no token."""
    token: str | None = None
    state: CoordinatorState | None = None
    unreachable: str | None = None
    """Why `state` is None, as a sentence."""
    ask_again_after: float | None = None
    """Seconds until it's worth asking the coordinator again, where that is later than usual."""
    unread: tuple[Blocker, ...] = ()
    """What couldn't be read now; the pass goes by what was known before."""
    unread_secrets: frozenset[str] = frozenset()
    """Secrets whose keys are unknown because of that."""
    token_unread: bool = False
    """Whether it is unknown if there is a token."""
    dead_nodes: frozenset[str] = frozenset()
    node_troubles: Mapping[str, str] = field(default_factory=dict)
    """What is wrong with each of the dead nodes, and since when."""
    gpus: Mapping[str, NodeGpu] = field(default_factory=dict)
    """Kind of GPU of the nodes that a role's pods may run on, by the role's label."""
    lacking: frozenset[Role] = frozenset()
    """Roles that have had too few pods for a while; at first every StatefulSet has."""
    refusals: Mapping[Role, str] = field(default_factory=dict)
    """Why the API server refuses a role's pods, in its own words."""
    gpu_nodes: tuple[GPUNode, ...] | None = None
    """All nodes with GPUs, None if they aren't known or an autoscaler may add some."""
    revision: int = 0
    """The cache's, of job, children and pods."""
    undeleted: frozenset[str] = frozenset()
    """Uids of pods whose deletion was refused or failed; it is tried again."""
    logs: Mapping[str, str] = field(default_factory=dict)
    """Where in the object store the last log of a container that failed is kept, by pod."""

    def of_role(self, role: Role) -> tuple[Pod, ...]:
        """Pods of a role."""
        return tuple(pod for pod in self.pods if pod.role is role)

    @property
    def rank_pods(self) -> frozenset[str]:
        """Names of the trainer pods that hold ranks; empty if that isn't known."""
        status, state = self.job.status, self.state
        # Of an attempt that the operator has left behind it no longer says anything.
        if state is None or state.attempt < (status.trainer_attempt or 1):
            return frozenset()
        return frozenset(state.rank_pods or ())

    def is_spare(self, pod: Pod) -> bool:
        """Whether its role works without it, so that its end is nobody's failure.

        An elastic role asks for more pods than it works with, to see whether there is room: trainer
        pods without a rank, and engines beyond the role's size.
        """
        if pod.role is Role.TRAINER:
            return bool(self.rank_pods) and pod.name not in self.rank_pods
        memory = self.job.elastic(pod.role) if pod.role else None
        return memory is not None and pod.ordinal >= memory.size

    def stateful_set(self, role: Role) -> Object | None:
        """The live StatefulSet of a role; not one of somebody else, or one that is leaving."""
        live = self.children.get(("StatefulSet", role_name(self.job.name, role)))
        if live is None or is_leaving(live, self.job) or not is_ours(live, self.job):
            return None
        return live

    def replicas(self, role: Role) -> int | None:
        """`spec.replicas` of a role's live StatefulSet, None if this job has none.

        That of an earlier job of this name, whose pods still end, is none of this one.
        """
        live = self.children.get(("StatefulSet", role_name(self.job.name, role)))
        if live is None or not is_ours(live, self.job):
            return None
        return int(live["spec"].get("replicas", 1))


def owner_uid(live: Object, job: Job) -> str | None:
    """Uid of the SEATrainingJob of this name that owns an object, None if no such job does."""
    for owner in live["metadata"].get("ownerReferences", []):
        if owner.get("kind") == KIND and owner.get("name") == job.name:
            return str(owner["uid"])
    return None


def is_ours(live: Object, job: Job) -> bool:
    """Whether this very job owns the object."""
    return owner_uid(live, job) == job.uid


def is_leaving(live: Object, job: Job) -> bool:
    """Whether it's being deleted, or belongs to an earlier job of this name and soon will be."""
    return "deletionTimestamp" in live["metadata"] or owner_uid(live, job) not in (None, job.uid)


def digest(body: Object) -> str:
    """Digest of an object as it is applied."""
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


_BY_LABEL = {role_label(role): role for role in Role}


def role_of(labels: Mapping[str, str]) -> Role | None:
    """Role of an object, from its label."""
    return _BY_LABEL.get(labels.get(ROLE_LABEL, ""))


def template_hash_of(labels: Mapping[str, str]) -> str | None:
    """Hash of the pod template that an object was made from."""
    return labels.get(HASH_LABEL)
