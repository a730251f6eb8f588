"""The coordinator for blocking callers: trainer supervisor and rank 0."""

import threading
from typing import TypeVar

import urllib3
from tenacity import Retrying

from sea_runtime.client import calls
from sea_runtime.client.calls import (
    Call,
    CoordinatorUnreachableError,
    HeldLeases,
    read_timeout,
    until,
)
from sea_runtime.wire.membership import Heartbeat, HeartbeatReply
from sea_runtime.wire.rollouts import EpisodeResult, LeaseRequest, Leases
from sea_runtime.wire.trainer import (
    CheckpointCommitted,
    LedgerSnapshot,
    StageDone,
    StageProgress,
    TrainerTask,
)
from sea_runtime.wire.weights import Adopted, ModelReply, WeightQueryReply, WeightVersion

Result = TypeVar("Result")


class CoordinatorClient:
    """Blocking calls, safe to share between threads.

    Args:
        url: `SEA_COORDINATOR_URL`.
        token: `SEA_TOKEN`.
        timeout: seconds for one attempt.
        retry_timeout: seconds for which connection errors and 5xx are retried.

    Raises (all methods): `CoordinatorError` and its subclasses.
    """

    def __init__(
        self, url: str, token: str, timeout: float = 15.0, retry_timeout: float = 120.0
    ) -> None:
        self._url, self._timeout, self._retry_timeout = url.rstrip("/"), timeout, retry_timeout
        self._pool = urllib3.PoolManager(maxsize=8, block=False, retries=False)
        self._headers = {"Authorization": f"Bearer {token}"}
        self._held, self._leasing = HeldLeases(), threading.Lock()

    def close(self) -> None:
        self._pool.clear()

    def heartbeat(self, beat: Heartbeat) -> HeartbeatReply:
        return self._send(calls.heartbeat(beat))

    def model(self, stream: str) -> ModelReply | None:
        """None until the base model is prepared."""
        return self._send(calls.model(stream))

    def trainer_task(self, attempt: int) -> TrainerTask:
        return self._send(calls.trainer_task(attempt))

    def batch(self, stage: str, step: int, attempt: int) -> bytes | None:
        """An encoded `Batch`; None: not ready yet, ask again."""
        return self._send(calls.batch(stage, step, attempt))

    def progress(self, stage: str, row: StageProgress) -> None:
        self._send(calls.progress(stage, row))

    def snapshot(self, stage: str, step: int, attempt: int) -> LedgerSnapshot:
        return self._send(calls.snapshot(stage, step, attempt))

    def committed(self, stage: str, checkpoint: CheckpointCommitted) -> None:
        self._send(calls.committed(stage, checkpoint))

    def done(self, stage: str, message: StageDone) -> None:
        self._send(calls.done(stage, message))

    def publish(self, version: WeightVersion) -> None:
        self._send(calls.publish(version))

    def newer_weights(self, stream: str, after: int, wait: float) -> WeightQueryReply:
        return self._send(calls.newer_weights(stream, after, wait))

    def adopted(self, stream: str, message: Adopted) -> None:
        self._send(calls.adopted(stream, message))

    def lease(self, request: LeaseRequest) -> Leases:
        """One at a time: two open requests would each get what the other already holds."""
        with self._leasing:
            return self._held.took(self._send(calls.lease(self._held.declare(request))))

    def result(self, episode: EpisodeResult) -> bool:
        """False: the lease is not this worker's any longer, forget the episode."""
        accepted = self._send(calls.result(episode))
        self._held.gave_up(episode.lease_id)
        return accepted

    def release(self, lease_id: str, pod: str, incarnation: str) -> None:
        self._send(calls.release(lease_id, pod, incarnation))
        self._held.gave_up(lease_id)

    def _send(self, call: Call[Result]) -> Result:
        return Retrying(**until(self._retry_timeout, call, self._url))(self._once, call)

    def _once(self, call: Call[Result]) -> Result:
        timeout = urllib3.Timeout(connect=5.0, read=read_timeout(self._timeout, call.wait))
        try:
            reply = self._pool.request(
                call.method,
                self._url + call.target,
                body=call.body or None,
                headers={**self._headers, "Content-Type": call.content_type},
                timeout=timeout,
            )
        except urllib3.exceptions.HTTPError as error:
            raise CoordinatorUnreachableError(repr(error)) from error
        return call.read(reply.status, reply.data)
