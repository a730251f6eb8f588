"""`POST /v1/heartbeat`: every pod reports that it is alive and learns what it should do."""

from enum import StrEnum

from pydantic import Field

from sea_api.v1alpha1.policy import Cause
from sea_runtime.wire.base import Message
from sea_runtime.wire.weights import MAX_REASON


class PodState(StrEnum):
    STARTING = "Starting"
    READY = "Ready"
    FAILED = "Failed"
    """A trainer's process ended badly; `detail` says how."""


class Software(Message):
    """What a pod runs; an empty image means that the pod doesn't know it."""

    image: str = ""
    """As the pod's template names it: with a digest if the job or the operator pins one."""
    packages: dict[str, str] = {}
    """Versions by name, of the packages that results depend on."""


class Heartbeat(Message):
    pod: str
    role: str
    """trainer, rollout or user."""
    address: str
    """Pod IP."""
    incarnation: str
    """New for every start of the sending process."""
    state: PodState
    attempt: int = 0
    """Trainer: the attempt that the supervisor runs (or that failed)."""
    cause: Cause | None = None
    """With FAILED: why."""
    detail: str = ""
    adopted: int | None = None
    """Engines: weight version served, None before the first is loaded."""
    adopted_attempt: int = 0
    """Engines: the attempt that published it. Training that went back comes to the same number
    again, with other weights."""
    transport: str = Field(default="", max_length=32)
    """Engines: how the newest version came, as in `Adopted`."""
    unreachable: str = Field(default="", max_length=MAX_REASON)
    """Engines: why they can't read versions from the trainer's or each other's memory."""
    software: Software = Software()
    leaving: bool = False
    """Trainer: the pod is being deleted, and waits for a last checkpoint in its grace period."""


class TrainerWorld(Message):
    """How the training processes of one attempt find each other."""

    attempt: int
    pods: list[str]
    """Pods of this attempt in rank order; a pod runs `processes_per_pod` ranks."""
    processes_per_pod: int
    master_address: str
    master_port: int


class HeartbeatReply(Message):
    run: bool = False
    """Trainer: whether training processes should run now."""
    keep_stacks: int = 0
    """Trainer: an attempt that hangs; its processes' stacks are kept before they are ended."""
    world: TrainerWorld | None = None
    """Trainer: None until every pod of the attempt has called."""
    restart: bool = False
    """Engines: training went back behind the weights that the engine serves: it restarts."""
    user_addresses: list[str] = []
    """Rollout: `http://ip:8000` of user-model engines that serve the version they should."""
