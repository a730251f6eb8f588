"""Progress on the terminal: our own lines, and the output of the installers as it is."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass, field

TIMEOUT_SECONDS = 3600.0


class SetupError(Exception):
    """Something is missing or failed; the message is a sentence that says what to do."""


@dataclass
class Console:
    """Prints steps and runs installers."""

    began: float = field(default_factory=time.monotonic)

    def say(self, line: str) -> None:
        """One line with the time since the start."""
        print(f"[{time.monotonic() - self.began:4.0f} s] {line}", flush=True)

    def run(
        self, what: str, command: list[str], environment: dict[str, str], cwd: str | None = None
    ) -> None:
        """Runs an installer; its output shows what it does and why it fails.

        Raises:
            SetupError: It failed or took longer than an hour.
        """
        try:
            done = subprocess.run(
                command,
                env=environment,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                timeout=TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise SetupError(
                f"{what} was not finished after an hour; run `make setup` again to continue."
            ) from None
        if done.returncode != 0:
            raise SetupError(
                f"{what} failed, see above. If the package index can't be reached, connect to the "
                "network, or set PIP_INDEX_URL (and PIP_CERT) to an index that you can reach; if "
                "the disk is full, free 15 GB or set UV_CACHE_DIR to a folder on a larger disk. "
                "Then run `make setup` again."
            )
