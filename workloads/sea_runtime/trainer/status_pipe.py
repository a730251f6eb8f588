"""What a training process reports to its supervisor: JSON lines on an inherited pipe.

`joined` makes the pod ready, `alive` keeps the hang watch quiet, `failed` names the cause. Read by
`process_handle.py`; no torch.
"""

import json
import os
import time
from dataclasses import dataclass, field
from typing import Any

STATUS_FD = "SEA_STATUS_FD"
"""Variable with the number of the pipe's descriptor, set by the supervisor for its processes."""
ALIVE_EVERY_SECONDS = 1.0


@dataclass
class StatusPipe:
    """The process's end of the pipe; without a supervisor every call does nothing."""

    descriptor: int | None = None
    _sent: float = field(default=0.0, repr=False)

    @staticmethod
    def from_environment() -> "StatusPipe":
        number = os.environ.get(STATUS_FD)
        return StatusPipe(int(number) if number else None)

    def joined(self, attempt: int) -> None:
        self._send({"event": "joined", "attempt": attempt})

    def alive(self) -> None:
        """Called from the training loop; sends at most one line per second."""
        now = time.monotonic()
        if now - self._sent >= ALIVE_EVERY_SECONDS:
            self._sent = now
            self._send({"event": "alive"})

    def failed(self, cause: str, message: str) -> None:
        self._send({"event": "failed", "cause": cause, "message": message})

    def _send(self, event: dict[str, Any]) -> None:
        if self.descriptor is not None:
            os.write(self.descriptor, (json.dumps(event) + "\n").encode())
