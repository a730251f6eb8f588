"""Weight versions: what a trainer publishes and an engine pulls.

A *stream* is `policy` or `user`. A version is immutable; version 0 is the base model that an
engine loads from disk by itself.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from sea_runtime.wire.base import Message, Part

MAX_REASON = 300
"""Characters of a reason that is reported."""


class Block(Part):
    """A region of one tensor, in HF naming, stored contiguously inside a shard's buffer.

    Regions count elements. A scalar's lists are empty.
    """

    name: str
    tensor: list[int]
    """Shape of the whole tensor."""
    start: list[int]
    """The region's first element, per dimension."""
    shape: list[int]
    dtype: str
    """Torch name without the prefix: float32, bfloat16."""
    offset: int
    """Bytes from the shard's start."""
    nbytes: int
    checksum: int = 0
    """xxh3, 64 bits, of the bytes."""
    weighted_sum: int = 0
    """Sum over the region's elements at their places in the tensor (`transport/weight_sums.py`)."""


class ShardDelta(Part):
    """An object that turns a shard's blocks of an older version into those of this one."""

    url: str
    base_version: int
    base_attempt: int
    offsets: list[int]
    """Where each block's delta (`transport/delta_codec.py`) begins in the object, in bytes; in the
    order of the shard's blocks. What one worker reads is next to each other."""
    sizes: list[int]


class Shard(Part):
    """What one trainer rank holds of a version."""

    rank: int
    nbytes: int
    blocks: list[Block]
    """By offset; empty while the version travels with `layout` in their place."""
    layout: str = ""
    """Digest of the blocks' `ShardLayout` (`transport/layouts.py`)."""
    numbers: str = ""
    """With `layout`: what differs from version to version, packed."""
    nixl_agent: str | None = None
    """Name of the NIXL agent that serves the shard; None if there is no fast path."""
    nixl_metadata: str | None = None
    """Base64 of the agent's metadata."""
    nixl_address: int | None = None
    """Address of the shard's buffer in the agent's process."""
    object_url: str | None = None
    """`s3://` copy of the same bytes, if the version is an anchor."""
    delta: ShardDelta | None = None


class ShardLayout(Message):
    """`PUT` and `GET /v1/layouts/{digest}`: where a shard's blocks are, in all its versions."""

    blocks: list[Block]
    """Without what differs from version to version."""


class HeldPart(Part):
    """What one worker of an engine holds of a shard, in its host memory."""

    rank: int
    """The shard's."""
    address: int
    """Address of the worker's buffer for this shard, in its NIXL agent's process."""
    runs: str
    """`transport.sources.pack_runs`: offset in the shard, offset in the buffer, bytes. Every block
    inside is verified and has the checksum that the shard lists."""


class WorkerCopy(Part):
    """What one worker of an engine serves to other engines."""

    version: int
    attempt: int
    nixl_agent: str
    nixl_metadata: str
    """Base64 of the agent's metadata."""
    parts: list[HeldPart]


class EngineCopy(Message):
    """`POST /v1/weights/{stream}/copies`: an engine holds a version that others may read."""

    pod: str
    version: int
    attempt: int
    workers: list[WorkerCopy]


class WeightVersion(Message):
    """`POST /v1/weights/{stream}` by rank 0; `GET /v1/weights/{stream}?after=V` waits for newer.

    The newest attempt wins where two published the same version.
    """

    stream: str
    version: int
    attempt: int
    stage: str
    step: int
    shards: list[Shard]
    check: bool = False
    """Engines compare what they hold after this version with the blocks' weighted sums."""
    run_url: str = ""
    """Folder of the run that it belongs to."""
    format: int = 1
    """Format of the manifest in the object store (`transport/stored_versions.py`)."""
    peers: list[EngineCopy] = []
    """Engines to read from first; the coordinator fills it in for the engine that asks."""
    relay: bool = False
    """True if the engine that fetches the version serves it to others; set like `peers`."""
    keep_cache: bool = False
    """`weights.keepCache` of the job; set like `peers`."""

    def copies(self) -> "WeightVersion":
        """The version without fast paths: what is left of it once its trainer has gone."""
        gone = {"nixl_agent": None, "nixl_metadata": None, "nixl_address": None}
        return self.model_copy(update={"shards": [s.model_copy(update=gone) for s in self.shards]})


class WeightQueryReply(Message):
    newest: WeightVersion | None
    """None while only the base model (version 0) exists or nothing is newer than asked."""
    required: int
    """Smallest version that an engine of this stream may serve and be Ready."""
    anchor: WeightVersion | None = None
    """Newest version after the asked one that the object store has, if `newest` is another one:
    what to load if `newest` is unavailable because its trainer has gone."""
    busy: bool = False
    """A newer version exists, but everyone who has it serves another engine: ask again."""
    trained: bool = False
    """A stage has begun to train the stream's model: engines compute with the numbers that the
    trainer begins with, so one that serves FP8 weights restarts, which dequantizes them."""
    announce: bool = False
    """The coordinator doesn't know what the engine holds of the version that it serves, as after
    its own restart: announce it again."""


PEER = "Peer"
"""The transport of a source that is another engine; `transport/sources.py` names the others."""


class FetchCause(StrEnum):
    """Why a source didn't deliver a version's bytes."""

    UNREACHABLE = "Unreachable"
    """It is gone or refuses, or the network between is broken."""
    TIMED_OUT = "TimedOut"
    """It did not answer in time: it hangs, or packets are dropped."""
    DAMAGED = "Damaged"
    """Other bytes than the version's: overwritten by a newer version, truncated, damaged."""
    OTHER_PARTS = "OtherParts"
    """It holds other parts of the model."""


class FailedSource(Part):
    """A process or object that should have delivered a version's bytes and didn't."""

    transport: str
    name: str
    """Name of the peer's pod, of the trainer's NIXL agent, or of the object."""
    cause: FetchCause
    reason: str
    """For people."""


class Adopted(Message):
    """`POST /v1/weights/{stream}/adopted`: an engine serves a version now."""

    pod: str
    version: int
    attempt: int = 0
    """The attempt that published it."""
    transport: str
    """Peer, NIXL (the trainer) or ObjectStore: the last of them that was needed."""
    transfer_s: float
    apply_s: float
    pause_s: float
    failed_sources: list[FailedSource] = []
    """Tried before the one that delivered."""


class NotFetched(Message):
    """`POST /v1/weights/{stream}/unfetched`: an engine could not get a version from any source; it
    keeps the one that it serves, and asks again. Without failed sources the fault was its own."""

    pod: str = Field(max_length=253)
    version: int
    attempt: int
    failed_sources: list[FailedSource]


class WrongWeights(Message):
    """`POST /v1/weights/{stream}/wrong`: an engine held other weights than a version's; it was
    terminated before it generated anything with them."""

    pod: str = Field(max_length=253)
    version: int = Field(ge=0, le=2**53 - 1)
    tensors: list[Annotated[str, Field(max_length=512)]] = Field(max_length=8)
    """Names of some of them."""


class ModelReply(Message):
    """`GET /v1/model?stream=S`: address of a stream's base model, 503 until it is prepared."""

    url: str
    """`s3://` HF folder."""
    name: str
    precision: str
    """Torch name without the prefix: float32, bfloat16."""
    context_length: int
    tensor_parallel: int
    expert_parallel: bool
    stage: str = ""
    """The stage that runs; part of the seed of an engine that starts in it."""
    empty: bool = False
    """True if the engine starts without weights: a version can be fetched, and needs no base."""
    dequantize: bool = False
    """True for a model that a stage trains: an FP8 folder becomes one in `precision` first."""
    tool_format: str = "Auto"
    """`sea_api.v1alpha1.data.ToolFormat`: how the model writes tool calls."""
    strips_thoughts: bool = False
    """True with `model.thinkingHistory: Strip`, for the policy."""


class PrefetchState(StrEnum):
    IDLE = "Idle"
    RUNNING = "Running"
    READY = "Ready"
    """All bytes are in host memory and their checksums match."""
    FAILED = "Failed"


class PrefetchStatus(Message):
    """How far a prefetch is: what the vLLM worker reports to the worker container next to it."""

    state: PrefetchState = PrefetchState.IDLE
    version: int = -1
    attempt: int = -1
    transport: str = ""
    """As in `Adopted`, once READY."""
    missing_layouts: list[str] = []
    """Digests of layouts that the worker needs before it can fetch the version; then it is IDLE."""
    seconds: float = 0.0
    nbytes: int = 0
    """What this worker fetched, once READY."""
    check: bool = False
    """This worker wants its parameters compared after the update."""
    failed_sources: list[FailedSource] = []
    """As in `Adopted` or `NotFetched`, once READY or FAILED."""
    unreachable: str = ""
    """Why the worker can't read other processes' memory, once READY or FAILED; empty if it can, or
    has not tried."""
    error: str = ""
    """A sentence, with FAILED."""
