"""Episodes: leases for rollout workers, results with trajectories, batches for the trainer."""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from sea_api import limits
from sea_api.v1alpha1.verifier import FunctionLimits, Judge
from sea_runtime.errors import RuntimeFailure
from sea_runtime.wire.base import Message

Count = Annotated[int, msgspec.Meta(ge=0)]
BYTE_EXPERTS = 256
"""Up to this many experts have numbers of one byte; vLLM's rule (`RoutedExpertsCapturer`)."""
MAX_EXPERT_BYTES = 256 << 20
"""Of the experts chosen in one trajectory of full length; a result's body may have twice as much
(`coordinator/app.py`)."""


def expert_bytes(layers: int, chosen: int, experts: int) -> int:
    """Bytes per token of `Trajectory.experts`."""
    return layers * chosen * (1 if experts <= BYTE_EXPERTS else 2)


class EpisodeKind(StrEnum):
    TRAIN = "Train"
    EVAL = "Eval"


class UserSettings(Message):
    """Which user simulator talks to the agent."""

    engine: str
    """Scripted, VLLM or External (sea_api UserEngine)."""
    url: str | None = None
    model: str | None = None
    temperature: float = 0.0
    max_tokens: int = limits.USER_MAX_TOKENS


class Lease(Message):
    """One episode to run; `POST /v1/leases {pod, incarnation, want}` hands out up to `want`."""

    lease_id: str
    kind: EpisodeKind
    group_id: str
    sample: int
    """Index within the group (Train) or trial number (Eval)."""
    domain: str
    task: dict[str, Any]
    """The row of the task file, `evaluation_criteria` already parsed."""
    database: str | None
    """`s3://` address of the row's database; None if the domain makes its own."""
    seed: int
    temperature: float
    max_tokens_per_turn: int
    max_turns: int
    context_length: int
    user: UserSettings
    judge: Judge | None = None
    functions: FunctionLimits = FunctionLimits()
    max_repeats: int = limits.MAX_REPEATS
    """Identical calls with identical results in a row that end the episode; 0: none do."""
    max_messages: int | None = None
    max_tool_errors: int | None = None
    greeting: bool = False
    """True begins the agent's context with its greeting."""
    timeout_s: float | None = None
    """Seconds for the whole episode, which has no verdict if it takes longer; None: no limit."""


class LeaseRequest(Message):
    pod: str
    incarnation: str
    want: int
    holding: list[str] | None = None
    """Leases that the worker knows of; others of this incarnation were lost with an answer and are
    sent again. The clients of `sea_runtime.client` fill it in; None means it isn't known."""


class Leases(Message):
    leases: list[Lease]


class UndecodableError(RuntimeFailure):
    """Bytes that are not what their sender says; the message names what was expected."""


class Trajectory(msgspec.Struct, frozen=True):
    """One episode as tokens; arrays are little-endian bytes, all of one length T.

    Encoded once by the worker; the coordinator stores and forwards the bytes, and each trainer rank
    decodes them, without the experts, which come separately (`trainer/batch_broadcast.py`).
    `mask` is 1 on tokens that the policy generated; `logprobs` and `versions` hold the behaviour
    log-probability and the weight version there, 0 and -1 elsewhere. The arrays hold the episode's
    samples end to end: one, or with stripped thoughts one per exchange.

    `experts`, with `rollout.routerReplay`, is [T, layers, k]: the experts that the engine's routers
    chose for each token, one byte each with up to 256 experts, two otherwise. It is most of a
    trajectory (752 bytes per token with 94 layers and 8 experts) and bounded by
    `MAX_EXPERT_BYTES`. A sample's last token was never computed, and has those of the token before.
    """

    tokens: bytes
    mask: bytes
    logprobs: bytes
    versions: bytes
    starts: list[int] = []
    """Where the second and later samples begin, rising."""
    experts: bytes = b""
    """Empty: not recorded."""

    @staticmethod
    def pack(
        tokens: list[int],
        mask: list[int],
        logprobs: list[float],
        versions: list[int],
        starts: Sequence[int] = (),
        experts: Sequence[bytes] = (),
    ) -> "Trajectory":
        """From four lists of one length; `experts` has as many items, or none."""
        assert len(experts) in (0, len(tokens))
        assert len(tokens) == len(mask) == len(logprobs) == len(versions)
        return Trajectory(
            np.asarray(tokens, "<i4").tobytes(),
            np.asarray(mask, "u1").tobytes(),
            np.asarray(logprobs, "<f4").tobytes(),
            np.asarray(versions, "<i4").tobytes(),
            list(starts),
            b"".join(experts),
        )

    def encode(self) -> bytes:
        return msgspec.msgpack.encode(self)

    @staticmethod
    def decode(body: bytes) -> "Trajectory":
        """Raises UndecodableError unless the arrays have one length."""
        try:
            # msgspec raises RecursionError for deeply nested input, and
            # UnicodeDecodeError for broken text.
            found = msgspec.msgpack.decode(body, type=Trajectory)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UndecodableError(
                f"The bytes are not a trajectory in msgpack: {error}."
            ) from error
        length = len(found.mask)
        # `mask` has one byte per token, the others four.
        sizes = (len(found.tokens), len(found.logprobs), len(found.versions))
        if sizes != (4 * length, 4 * length, 4 * length):
            raise UndecodableError(
                f"The trajectory's arrays differ in length: mask {length}, bytes {sizes}."
            )
        if any(a >= b for a, b in pairwise((0, *found.starts, length)) if found.starts):
            raise UndecodableError(
                f"The trajectory's samples don't begin one after the other within its {length} "
                f"tokens: {found.starts}."
            )
        return found

    def samples(self) -> Iterator[slice]:
        """Each sample's part of the arrays; at least one."""
        for start, end in pairwise((0, *self.starts, len(self.mask))):
            yield slice(start, end)

    def token_ids(self) -> NDArray[np.int32]:
        """[T]"""
        return np.frombuffer(self.tokens, "<i4")

    def loss_mask(self) -> NDArray[np.uint8]:
        """[T]"""
        return np.frombuffer(self.mask, "u1")

    def behaviour_logprobs(self) -> NDArray[np.float32]:
        """[T]"""
        return np.frombuffer(self.logprobs, "<f4")

    def token_versions(self) -> NDArray[np.int32]:
        """[T]"""
        return np.frombuffer(self.versions, "<i4")

    def mean_version(self) -> float | None:
        """Over the generated tokens; None if there are none."""
        versions = self.token_versions()[self.loss_mask() == 1]
        return float(np.mean(versions)) if len(versions) else None


def chosen_experts(
    data: bytes, tokens: int, layers: int, chosen: int, experts: int
) -> NDArray[Any]:
    """`Trajectory.experts` as [T, layers, chosen], a view of the bytes.

    Args:
        tokens: T, of the trajectory.

    Raises:
        UndecodableError: they are not of a model with so many layers, and of `experts` experts
            `chosen` ones per token.
    """
    dtype = np.dtype("u1") if experts <= BYTE_EXPERTS else np.dtype("<u2")
    size = tokens * layers * chosen * dtype.itemsize
    if len(data) != size:
        raise UndecodableError(
            f"The trajectory has {len(data)} bytes of chosen experts instead of {size}:"
            f" {tokens} tokens in {layers} layers, {chosen} of {experts} experts each."
        )
    found = np.frombuffer(data, dtype).reshape(-1, layers, chosen)
    # An index beyond the experts ends a kernel on a GPU without saying where it came from.
    if found.size and found.max() >= experts:
        raise UndecodableError(
            f"The trajectory's tokens went to expert {found.max()}, but there are {experts}."
        )
    return found


class EpisodeResult(msgspec.Struct, frozen=True):
    """`POST /v1/leases/{lease_id}/result`, as msgpack.

    `reward` None means that no verdict was possible (an engine died, the environment broke):
    the episode is issued again and never counts as a zero. With a `stop` it means that the agent
    never had a turn, which another attempt would not change: the episode ends without a verdict.
    """

    lease_id: str
    pod: str
    incarnation: str
    reward: float | None
    error: str
    """Why there is no reward, a sentence; empty otherwise."""
    trajectory: bytes | None
    """`Trajectory.encode`d."""
    generated_tokens: Count
    turns: Count
    stop: str
    """Why the episode ended: UserStop, Transfer, MaxTurns, ContextFull, BadFormat, ..."""
    transcript: list[dict[str, Any]]
    """Messages for people: role, content, tool_calls."""
    seconds: float
    details: dict[str, Any]
    """The verifier's parts, e.g. {"DB": 1.0, "COMMUNICATE": 0.0}."""
    mean_version: float | None = None
    """Mean weight version of the generated tokens, None if there are none."""

    @property
    def never_asked(self) -> bool:
        """True if the episode ended before the agent had a turn."""
        return self.reward is None and bool(self.stop) and not self.turns


class Group(msgspec.Struct, frozen=True):
    """All episodes of one prompt, with their rewards: the unit of staleness and of advantage."""

    group_id: str
    rewards: list[float]
    trajectories: list[bytes]
    """`Trajectory.encode`d, as the workers sent them."""


class Batch(msgspec.Struct, frozen=True):
    """`GET /v1/stages/{stage}/batches/{step}?attempt=G`, msgpack; fixed once handed out.

    204 means not ready yet (the call waits up to 10 s), 409 an attempt that is not current.
    """

    stage: str
    step: int
    groups: list[Group]
    dropped_groups: int
    """Groups with identical rewards that were filtered since the last batch."""
    mean_reward: float
    """Over all groups finished since the last batch, the dropped ones included."""
    never_asked: int = 0
    """Episodes of those groups that ended before the agent had a turn; they have no verdict."""
    expired_groups: int = 0
    """Groups that were older than `maxAge` since the last batch, dropped and replaced."""

    @staticmethod
    def decode(body: bytes) -> "Batch":
        """Raises UndecodableError; the trajectories stay encoded."""
        try:
            return msgspec.msgpack.decode(body, type=Batch)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UndecodableError(f"The bytes are not a batch in msgpack: {error}.") from error
