"""The coordinator for blocking callers: rank 0, and an engine that waits for its base model."""

import copy
from collections.abc import Callable
from typing import TypeVar

import urllib3
from tenacity import Retrying

from sea_runtime.client import calls
from sea_runtime.client.calls import (
    MIN_BYTES_PER_SECOND,
    Call,
    CoordinatorUnreachableError,
    read_timeout,
    until,
)
from sea_runtime.transport import layouts
from sea_runtime.wire.trainer import (
    BackgroundFailures,
    CheckpointCommitted,
    LedgerSnapshot,
    StageDone,
    StageProgress,
    TrainerTask,
)
from sea_runtime.wire.weights import ModelReply, WeightVersion

Result = TypeVar("Result")

LAYOUT_TRIES = 5
"""More than one: a coordinator that loses its ledger meanwhile asks again."""


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
        # `retries=False`: tenacity repeats calls, and urllib3 would follow redirects.
        # `block=False`: a thread beyond the eighth opens a connection instead of waiting.
        self._pool = urllib3.PoolManager(maxsize=8, block=False, retries=False)
        self._headers = {"Authorization": f"Bearer {token}"}
        self._gives_up: Callable[[], bool] = lambda: False

    def watched(self, gives_up: Callable[[], bool]) -> "CoordinatorClient":
        """The same client; `gives_up` is asked after each failure that may pass, and ends the call
        if it says so."""
        other = copy.copy(self)
        other._gives_up = gives_up
        return other

    def close(self) -> None:
        self._pool.clear()

    def model(self, stream: str) -> ModelReply | None:
        """None until the base model is prepared."""
        return self.send(calls.model(stream))

    def trainer_task(self, attempt: int) -> TrainerTask:
        return self.send(calls.trainer_task(attempt))

    def batch(self, stage: str, step: int, attempt: int) -> bytes | None:
        """An encoded `Batch`; None: not ready yet, ask again."""
        return self.send(calls.batch(stage, step, attempt))

    def progress(self, stage: str, row: StageProgress) -> None:
        self.send(calls.progress(stage, row))

    def background_failures(self, stage: str, message: BackgroundFailures) -> None:
        self.send(calls.background_failures(stage, message))

    def snapshot(self, stage: str, step: int, attempt: int) -> LedgerSnapshot:
        return self.send(calls.snapshot(stage, step, attempt))

    def committed(self, stage: str, checkpoint: CheckpointCommitted) -> None:
        self.send(calls.committed(stage, checkpoint))

    def done(self, stage: str, message: StageDone) -> None:
        self.send(calls.done(stage, message))

    def publish(self, version: WeightVersion) -> None:
        """Registers a version; its layouts are sent where the coordinator doesn't know them."""
        compact = layouts.compact(version)
        for _ in range(LAYOUT_TRIES):
            if self.send(calls.publish(compact)):
                return
            for name, layout in layouts.layouts_of(version).items():
                self.send(calls.put_layout(name, layout))
        raise CoordinatorUnreachableError(
            f"Version {version.version} was not registered: the coordinator forgot its layouts "
            f"{LAYOUT_TRIES} times."
        )

    def send(self, call: Call[Result]) -> Result:
        """One of `calls`, sent until it has an answer."""
        arguments = until(self._retry_timeout, call, self._url, self._gives_up)
        return Retrying(**arguments)(self._once, call)

    def _once(self, call: Call[Result]) -> Result:
        # The body is sent within the time-out of the connection, all 60 MB of a large model's
        # layout: a network of 100 Mbit/s would never take them in 5 s.
        timeout = urllib3.Timeout(
            connect=5.0 + len(call.body) / MIN_BYTES_PER_SECOND,
            read=read_timeout(self._timeout, call.wait, len(call.body)),
        )
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
