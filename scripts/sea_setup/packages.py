"""`.venv`: exactly what the lock says, plus this checkout, editable."""

from __future__ import annotations

from pathlib import Path

from sea_setup import torch_build
from sea_setup.pip_settings import PipSettings
from sea_setup.progress import Progress
from sea_setup.pythons import version_of
from sea_setup.torch_build import TorchBuild

LOCK = "requirements/cpu.lock"
INSTALL_TIMEOUT_SECONDS = 3600.0


class Packages:
    """The environment's installer."""

    def __init__(
        self,
        root: Path,
        uv: Path,
        settings: PipSettings,
        progress: Progress,
        environment: dict[str, str],
    ) -> None:
        self.root = root
        self.folder = root / ".venv"
        self.python = self.folder / "bin" / "python"
        self._uv = str(uv)
        self._settings = settings
        self._progress = progress
        self._environment = environment

    def install(self, python: str, build: TorchBuild, *, fresh: bool) -> None:
        """Makes `.venv` what the lock says, from whatever state it is in.

        Args:
            python: Interpreter for it.
            build: Which torch.
            fresh: Begin with an empty environment even where a good one exists.

        Raises:
            SetupError: A package cannot be fetched or installed.
        """
        if fresh or version_of(str(self.python)) != version_of(python):
            self._make(python)
        lock = (self.root / LOCK).read_text()
        count = sum(1 for line in lock.splitlines() if "==" in line)
        self._progress.say(f"Python packages into .venv: {count} from {LOCK}, 7 GB when unpacked")
        self._sync(lock, build)
        if not build.in_lock:
            arguments = build.arguments(torch_build.pinned_version(lock))
            self._uv_pip("Installing torch", ["install", "--no-deps", *arguments])
        self.install_project()

    def install_project(self) -> None:
        """Installs this checkout, editable: entry points follow pyproject.toml."""
        self._uv_pip("Installing sea-operator", ["install", "--no-deps", "-e", str(self.root)])

    def _make(self, python: str) -> None:
        self._progress.say(f"Environment .venv with {python}")
        command = [self._uv, "venv", "--quiet", "--clear", "--python", python, str(self.folder)]
        self._progress.run("Making .venv", command, self._environment, 120.0)

    def _sync(self, lock: str, build: TorchBuild) -> None:
        path = self.root / LOCK
        if not build.in_lock:
            path = self.root / ".tools" / "without-torch.lock"
            path.write_text(torch_build.without_torch(lock, keep_cuda=build.needs_cuda_packages))
        # Compiled now, or every pod would compile vLLM for itself: pods cannot write here.
        command = ["sync", "--require-hashes", "--compile-bytecode", str(path)]
        self._uv_pip("Installing and compiling Python packages", command)

    def _uv_pip(self, what: str, arguments: list[str]) -> None:
        head = [self._uv, "pip", arguments[0], "--python", str(self.python)]
        command = [*head, *self._settings.arguments(), *arguments[1:]]
        self._progress.run(what, command, self._environment, INSTALL_TIMEOUT_SECONDS)
