"""Every call to the coordinator as data, so that the two clients differ only in how they send.

A pod's request goes: `calls.<name>(...)` -> `Call` -> `sync_client` or `async_client` sends it,
repeatedly while the coordinator is away -> `Call.read` turns the answer into a wire message.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, NoReturn, TypeVar
from urllib.parse import urlencode

import msgspec
from tenacity import RetryCallState

from sea_env.retry import IF_TRANSIENT, backoff, stop_at
from sea_runtime.errors import RuntimeFailure
from sea_runtime.wire.base import Message
from sea_runtime.wire.membership import Heartbeat, HeartbeatReply
from sea_runtime.wire.rollouts import EpisodeResult, LeaseRequest, Leases
from sea_runtime.wire.trainer import (
    BackgroundFailures,
    CheckpointCommitted,
    LedgerSnapshot,
    StageDone,
    StageProgress,
    TrainerTask,
)
from sea_runtime.wire.weights import (
    Adopted,
    EngineCopy,
    ModelReply,
    NotFetched,
    ShardLayout,
    WeightQueryReply,
    WeightVersion,
    WrongWeights,
)

Result = TypeVar("Result")
Reply = TypeVar("Reply", bound=Message)

JSON = "application/json"
MSGPACK = "application/msgpack"
BATCH_WAIT_SECONDS = 10.0
TASK_WAIT_SECONDS = 5.0
LEASE_WAIT_SECONDS = 5.0
FIRST_DELAY_SECONDS = 0.1
MAX_DELAY_SECONDS = 2.0
POLL_MARGIN_SECONDS = 5.0
MIN_BYTES_PER_SECOND = 2e6
"""Slowest rate of a body: the results of all engines may come at the same moment."""
UNKNOWN_LAYOUT = 428
"""Status of a version whose layouts are to be sent first ("precondition required")."""


class CoordinatorError(RuntimeFailure):
    """A call to the coordinator failed; the message names method and path."""


class CoordinatorUnreachableError(CoordinatorError):
    """No usable answer before the deadline."""

    permanent = False


class StaleAttemptError(CoordinatorError):
    """409: the caller belongs to an attempt that is over."""


class RequestRefusedError(CoordinatorError):
    """Another 4xx: the caller asked for something impossible."""


@dataclass(frozen=True)
class Call(Generic[Result]):
    """One request and how to read its answer; safe to send more than once."""

    method: str
    path: str
    decode: Callable[[bytes], Result]
    query: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    content_type: str = JSON
    wait: float = 0.0
    """Seconds for which the server may hold the request (long poll)."""
    otherwise: dict[int, Result] = field(default_factory=dict)
    """Statuses that are answers, not errors."""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def target(self) -> str:
        """Path and query."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path

    def read(self, status: int, body: bytes) -> Result:
        """The answer's value.

        Raises:
            CoordinatorUnreachableError: 5xx, to be sent again.
            StaleAttemptError: 409.
            RequestRefusedError: another 4xx.
        """
        # First: for some calls 409 or 503 is an answer, and not to be retried.
        if status in self.otherwise:
            return self.otherwise[status]
        if status >= 500:
            raise CoordinatorUnreachableError(f"status {status} {body[:300]!r}")
        if status == 409:
            raise StaleAttemptError(f"{self}: {_text(body)}")
        # Redirects too: the coordinator sends none, so another server has the address.
        if status >= 300:
            raise RequestRefusedError(f"{self} was refused with {status}: {_text(body)}")
        return self.decode(body)


def read_timeout(timeout: float, wait: float, nbytes: int = 0) -> float:
    """Seconds to wait for an answer that the server may hold back for `wait` seconds.

    Args:
        nbytes: of the body that is sent first; a trajectory with experts to replay has tens of MB.
    """
    return max(timeout, wait + POLL_MARGIN_SECONDS) + nbytes / MIN_BYTES_PER_SECOND


def until(
    timeout: float, call: Call[Any], url: str, gives_up: Callable[[], bool] = lambda: False
) -> dict[str, Any]:
    """tenacity's arguments for sending `call` to `url` for `timeout` seconds.

    Args:
        gives_up: asked after each failure that may pass: True ends the call before its time.
    """

    # Per call: the deadline counts from the first attempt.
    too_late = stop_at(time.monotonic() + timeout)

    def give_up(state: RetryCallState) -> NoReturn:
        last = state.outcome.exception() if state.outcome else None
        raise CoordinatorUnreachableError(
            f"The coordinator at {url} did not answer '{call}' for {timeout:.0f} s: {last}. "
            "Look at the logs of its pod."
        ) from last

    return {
        "retry": IF_TRANSIENT,
        "wait": backoff(FIRST_DELAY_SECONDS, MAX_DELAY_SECONDS),
        "stop": lambda state: gives_up() or too_late(state),
        "retry_error_callback": give_up,
    }


def _text(body: bytes) -> str:
    return body.decode(errors="replace")[:500]


def _nothing(_: bytes) -> None:
    return None


def _get(path: str, reply: type[Reply], wait: float = 0.0, **query: object) -> Call[Reply]:
    texts = {name: str(value) for name, value in query.items()}
    return Call("GET", path, reply.model_validate_json, texts, wait=wait)


def _tell(path: str, message: Message) -> Call[None]:
    return Call("POST", path, _nothing, body=message.model_dump_json().encode())


def _ask(path: str, message: Message, reply: type[Reply], wait: float = 0.0) -> Call[Reply]:
    body = message.model_dump_json().encode()
    return Call("POST", path, reply.model_validate_json, body=body, wait=wait)


def heartbeat(beat: Heartbeat) -> Call[HeartbeatReply]:
    return _ask("/v1/heartbeat", beat, HeartbeatReply)


def keep_log(pod: str, name: str, attempt: int, text: bytes) -> Call[None]:
    """Stores what a pod has to say of an attempt that failed."""
    query = {"attempt": str(attempt), "failed": "true"}
    return Call("PUT", f"/v1/logs/{pod}/{name}", _nothing, query, text, "text/plain")


def model(stream: str) -> Call[ModelReply | None]:
    return Call(
        "GET",
        "/v1/model",
        ModelReply.model_validate_json,
        {"stream": stream},
        otherwise={503: None},
    )


def trainer_task(attempt: int) -> Call[TrainerTask]:
    return _get("/v1/trainer/task", TrainerTask, TASK_WAIT_SECONDS, attempt=attempt)


def batch(stage: str, step: int, attempt: int) -> Call[bytes | None]:
    """A `Batch` in msgpack, as it came."""
    return Call(
        "GET",
        f"/v1/stages/{stage}/batches/{step}",
        bytes,
        {"attempt": str(attempt)},
        wait=BATCH_WAIT_SECONDS,
        otherwise={204: None},
    )


def progress(stage: str, row: StageProgress) -> Call[None]:
    return _tell(f"/v1/stages/{stage}/progress", row)


def background_failures(stage: str, message: BackgroundFailures) -> Call[None]:
    return _tell(f"/v1/stages/{stage}/failures", message)


def snapshot(stage: str, step: int, attempt: int) -> Call[LedgerSnapshot]:
    return Call(
        "POST",
        f"/v1/stages/{stage}/snapshot",
        LedgerSnapshot.model_validate_json,
        {"step": str(step), "attempt": str(attempt)},
        # Not a long poll: the coordinator copies and uploads its ledger before it answers.
        wait=120.0,
    )


def committed(stage: str, checkpoint: CheckpointCommitted) -> Call[None]:
    return _tell(f"/v1/stages/{stage}/checkpoints", checkpoint)


def done(stage: str, message: StageDone) -> Call[None]:
    return _tell(f"/v1/stages/{stage}/done", message)


def publish(version: WeightVersion) -> Call[bool]:
    """False: the coordinator lacks a layout that the version names."""
    return Call(
        "POST",
        f"/v1/weights/{version.stream}",
        lambda _: True,
        body=version.model_dump_json().encode(),
        otherwise={UNKNOWN_LAYOUT: False},
    )


def put_layout(digest: str, layout: ShardLayout) -> Call[None]:
    body = layout.model_dump_json().encode()
    return Call("PUT", f"/v1/layouts/{digest}", _nothing, body=body)


def layout(digest: str) -> Call[ShardLayout]:
    return _get(f"/v1/layouts/{digest}", ShardLayout)


def newer_weights(stream: str, after: int, wait: float, pod: str = "") -> Call[WeightQueryReply]:
    """`pod` is about to read the version: it also learns from whom."""
    query = {"after": str(after), "wait": str(wait), **({"pod": pod} if pod else {})}
    read = WeightQueryReply.model_validate_json
    return Call("GET", f"/v1/weights/{stream}", read, query, wait=wait)


def adopted(stream: str, message: Adopted) -> Call[None]:
    return _tell(f"/v1/weights/{stream}/adopted", message)


def unfetched(stream: str, message: NotFetched) -> Call[None]:
    return _tell(f"/v1/weights/{stream}/unfetched", message)


def wrong_weights(stream: str, message: WrongWeights) -> Call[None]:
    return _tell(f"/v1/weights/{stream}/wrong", message)


def announce(stream: str, copy: EngineCopy) -> Call[None]:
    return _tell(f"/v1/weights/{stream}/copies", copy)


def lease(request: LeaseRequest) -> Call[Leases]:
    return _ask("/v1/leases", request, Leases, LEASE_WAIT_SECONDS)


def result(episode: EpisodeResult) -> Call[bool]:
    return Call(
        "POST",
        f"/v1/leases/{episode.lease_id}/result",
        lambda _: True,
        body=msgspec.msgpack.encode(episode),
        content_type=MSGPACK,
        otherwise={409: False},
    )


def release(lease_id: str, pod: str, incarnation: str) -> Call[None]:
    body = msgspec.json.encode({"pod": pod, "incarnation": incarnation})
    path = f"/v1/leases/{lease_id}/release"
    return Call("POST", path, _nothing, body=body, otherwise={409: None})
