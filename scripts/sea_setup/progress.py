"""Showing what happens: one line for each step, and a sign of life while it takes long."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from sea_setup.errors import explain

HEARTBEAT_SECONDS = 10.0


def elapsed(seconds: float) -> str:
    """`7 s` or `2 min 03 s`."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


@dataclass
class Progress:
    """Prints steps; everything that installers say goes to the log."""

    log: Path
    began: float = field(default_factory=time.monotonic)

    def say(self, line: str) -> None:
        """One line with the time since the start."""
        print(f"[{elapsed(time.monotonic() - self.began):>10}] {line}", flush=True)

    def run(
        self,
        what: str,
        command: list[str],
        environment: dict[str, str],
        timeout: float,
        cwd: Path | None = None,
    ) -> None:
        """Runs an installer quietly with a heartbeat.

        Raises:
            SetupError: It failed or took too long.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            start = log.seek(0, 2)
            process = subprocess.Popen(
                command,
                env=environment,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            try:
                self._wait(process, what, start, timeout)
            except BaseException:
                process.kill()
                process.wait()
                raise
        if process.returncode != 0:
            raise explain(what, self._since(start), self.log)

    def _wait(
        self, process: subprocess.Popen[bytes], what: str, start: int, timeout: float
    ) -> None:
        deadline = time.monotonic() + timeout
        while True:
            try:
                process.wait(HEARTBEAT_SECONDS)
            except subprocess.TimeoutExpired:
                if time.monotonic() > deadline:
                    message = f"\ntimed out after {elapsed(timeout)}: operation timed out"
                    raise explain(what, self._since(start) + message, self.log) from None
                lines = self._since(start).split("\n")
                last = next((line.strip() for line in reversed(lines) if line.strip()), "")
                self.say(f"    ... {what}: {last[:80]}" if last else f"    ... {what}")
            else:
                return

    def _since(self, start: int) -> str:
        with self.log.open("rb") as log:
            log.seek(start)
            return log.read().decode(errors="replace")
