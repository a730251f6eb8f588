"""What a training process tells its supervisor: JSON lines on a pipe, read by `supervisor.py`.

Pure I/O on both ends, no torch. `joined` makes the pod ready, `alive` keeps the hang watch quiet.
"""

import json
import os
import time
from dataclasses import dataclass, field
from typing import Any

REPORT_FD = "SEA_REPORT_FD"
ALIVE_EVERY_S = 1.0


@dataclass
class Report:
    """The process's end of the pipe; without a supervisor every call does nothing."""

    descriptor: int | None = None
    _last: float = field(default=0.0, repr=False)

    @staticmethod
    def from_environment() -> "Report":
        number = os.environ.get(REPORT_FD)
        return Report(int(number) if number else None)

    def joined(self, attempt: int) -> None:
        self._send({"event": "joined", "attempt": attempt})

    def alive(self) -> None:
        """Called from the training loop; sends at most one line a second."""
        now = time.monotonic()
        if now - self._last >= ALIVE_EVERY_S:
            self._last = now
            self._send({"event": "alive"})

    def failed(self, cause: str, message: str) -> None:
        self._send({"event": "failed", "cause": cause, "message": message})

    def _send(self, event: dict[str, Any]) -> None:
        if self.descriptor is not None:
            os.write(self.descriptor, (json.dumps(event) + "\n").encode())
