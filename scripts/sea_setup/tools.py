"""`.tools/env`: uv, and a Go toolchain where the machine has none. Pinned with hashes."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from sea_setup.progress import Progress

INSTALL_TIMEOUT_SECONDS = 900.0


class Tools:
    """The tools' own environment, apart from what it installs."""

    def __init__(self, root: Path, progress: Progress, environment: dict[str, str]) -> None:
        self.root = root
        self.folder = root / ".tools" / "env"
        self.uv = self.folder / "bin" / "uv"
        self._progress = progress
        self._environment = environment

    def ensure_uv(self, python: str) -> None:
        """Installs the pinned uv unless it is there."""
        if self.uv_version() == self.pinned_uv():
            return
        self._progress.say(f"uv {self.pinned_uv()} into .tools")
        command = [python, "-m", "venv", "--clear", str(self.folder)]
        self._progress.run("Making .tools", command, self._environment, 120.0)
        self._pip_install("uv", "tools.lock")

    def ensure_go(self) -> None:
        """Installs a Go toolchain: 70 MB."""
        self._progress.say("Go toolchain into .tools (this machine has none that is new enough)")
        self._pip_install("Go", "go.lock")

    def pinned_uv(self) -> str:
        """The version that `requirements/tools.lock` names."""
        match = re.search(r"^uv==(\S+)", self._requirements("tools.lock").read_text(), re.MULTILINE)
        assert match is not None, "tools.lock does not pin uv"
        return match[1]

    def uv_version(self) -> str:
        """The version in `.tools`; empty if there is none."""
        try:
            done = subprocess.run(
                [str(self.uv), "--version"], capture_output=True, text=True, timeout=30, check=False
            )
            return done.stdout.split()[1]
        except (OSError, IndexError, subprocess.TimeoutExpired):
            return ""

    def _requirements(self, name: str) -> Path:
        return self.root / "requirements" / name

    def _pip_install(self, what: str, lock: str) -> None:
        pip = [str(self.folder / "bin" / "python"), "-m", "pip", "install", "--no-input"]
        command = [*pip, "--require-hashes", "-r", str(self._requirements(lock))]
        self._progress.run(
            f"Installing {what}", command, self._environment, INSTALL_TIMEOUT_SECONDS
        )
