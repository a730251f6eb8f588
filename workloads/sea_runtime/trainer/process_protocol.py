"""What a supervisor and its training processes say to each other; no torch, both sides import it.

Down, once, on the process's stdin: the rank it is assigned, one JSON line. A process started by
hand takes the usual variables instead (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT, SEA_ATTEMPT).

Up, as JSON lines on an inherited pipe: `joined` makes the pod ready, `alive` keeps the hang watch
quiet, `failed` names the cause (read by `process_handle.py`). At the end: the exit code.
"""

import json
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from typing import Any

from sea_api.v1alpha1.policy import Cause

DEFAULT_TIMEOUT_SECONDS = 300.0
STATUS_FD = "SEA_STATUS_FD"
"""Variable with the number of the pipe's descriptor, set by the supervisor for its processes."""
STACKS_FILE = "SEA_STACKS_FILE"
"""Variable with the file that a process appends the stacks of its threads to on STACKS_SIGNAL."""
STACKS_SIGNAL = signal.SIGUSR1
ALIVE_EVERY_SECONDS = 1.0
MAX_MESSAGE = 4000
"""Characters of a failure that are sent. The supervisor reads lines of at most 64 KiB, and torch's
message on a large model may name thousands of tensors."""


@dataclass(frozen=True)
class RankAssignment:
    """One process's rank in one attempt, and where the ranks meet."""

    attempt: int
    rank: int
    world_size: int
    local_rank: int
    master_address: str
    master_port: int
    timeout_s: float = DEFAULT_TIMEOUT_SECONDS
    """Time-out of every collective; longer than any wait of rank 0 for coordinator or S3."""

    def to_line(self) -> str:
        return json.dumps(asdict(self)) + "\n"

    @staticmethod
    def from_line(line: str) -> "RankAssignment":
        return RankAssignment(**json.loads(line))

    @staticmethod
    def from_environment(environment: Mapping[str, str] = os.environ) -> "RankAssignment | None":
        """None without WORLD_SIZE: the process then waits for its assignment on stdin."""
        if "WORLD_SIZE" not in environment:
            return None
        return RankAssignment(
            attempt=int(environment.get("SEA_ATTEMPT", "1")),
            rank=int(environment["RANK"]),
            world_size=int(environment["WORLD_SIZE"]),
            local_rank=int(environment.get("LOCAL_RANK", "0")),
            master_address=environment["MASTER_ADDR"],
            master_port=int(environment["MASTER_PORT"]),
            timeout_s=float(environment.get("SEA_COLLECTIVE_TIMEOUT_S", DEFAULT_TIMEOUT_SECONDS)),
        )


class ExitCode(IntEnum):
    """How a training process ends."""

    STOPPED = 0
    """The coordinator said stop."""
    FAILED = 1
    FENCED = 3
    """A newer attempt has taken over."""
    USER_ERROR = 4
    """No restart can help until the user changes something."""


@dataclass(frozen=True)
class ReportedFailure:
    """Why a process ends, in its own words."""

    cause: Cause
    message: str


@dataclass
class StatusPipe:
    """The process's end of the pipe; without a supervisor nothing is sent."""

    descriptor: int | None = None
    _sent: float = field(default=0.0, repr=False)
    _progress: float = field(default_factory=time.monotonic, repr=False)

    @staticmethod
    def from_environment() -> "StatusPipe":
        number = os.environ.get(STATUS_FD)
        return StatusPipe(int(number) if number else None)

    @property
    def supervised(self) -> bool:
        return self.descriptor is not None

    @property
    def idle_seconds(self) -> float:
        """Seconds since the last call of `alive` or `joined`."""
        return time.monotonic() - self._progress

    def joined(self, attempt: int) -> None:
        self._progress = time.monotonic()
        self._send({"event": "joined", "attempt": attempt})

    def alive(self) -> None:
        """Called whenever training makes progress; sends at most one line per second."""
        self._progress = now = time.monotonic()
        if now - self._sent >= ALIVE_EVERY_SECONDS:
            self._sent = now
            self._send({"event": "alive"})

    def failed(self, failure: ReportedFailure) -> None:
        message = failure.message[:MAX_MESSAGE]
        self._send({"event": "failed", "cause": failure.cause, "message": message})

    def _send(self, event: dict[str, Any]) -> None:
        if self.descriptor is not None:
            # Blocks while the pipe is full. The supervisor reads lines of at most 64 KiB (the limit
            # of asyncio's StreamReader).
            os.write(self.descriptor, (json.dumps(event) + "\n").encode())
