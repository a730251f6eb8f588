"""Finding the Python for `.venv`: 3.11, else 3.12, else 3.13."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from sea_setup.errors import SetupError

VERSIONS = ((3, 11), (3, 12), (3, 13))
"""Best first: the lock serves all three, 3.11 is what we test most."""
_ASK = "import sys, venv; print('%d.%d' % sys.version_info[:2]); print(sys.executable)"


def version_of(python: str) -> tuple[int, ...] | None:
    """Major and minor version, None if it does not run or has no `venv` module."""
    try:
        done = subprocess.run(
            [python, "-c", _ASK], capture_output=True, text=True, timeout=30, check=False
        )
        return tuple(int(part) for part in done.stdout.split()[0].split("."))
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        return None


def candidates(environ: dict[str, str]) -> Iterable[str]:
    """Interpreters that may do, best first."""
    named = [f"python{major}.{minor}" for major, minor in VERSIONS]
    yield from (found for name in named if (found := shutil.which(name)))
    yield sys.executable
    home = Path(environ.get("PYENV_ROOT", str(Path.home() / ".pyenv"))) / "versions"
    for name in named:
        # pyenv's shims refuse to run versions that are not activated; the programs themselves run.
        yield from (str(path) for path in sorted(home.glob(f"*/bin/{name}"), reverse=True))


def find(environ: dict[str, str] | None = None) -> str:
    """The interpreter to make `.venv` with.

    Raises:
        SetupError: There is none of the right version.
    """
    environ = dict(os.environ) if environ is None else environ
    asked = environ.get("SEA_PYTHON")
    if asked:
        if version_of(asked) in VERSIONS:
            return asked
        raise SetupError(
            f"SEA_PYTHON={asked} is no Python 3.11, 3.12 or 3.13 that runs; name one, or unset it."
        )
    found: dict[tuple[int, ...] | None, str] = {}
    for python in candidates(environ):
        found.setdefault(version_of(python), python)
    for version in VERSIONS:
        if version in found:
            return found[version]
    raise SetupError(
        "No Python 3.11, 3.12 or 3.13 was found; install one (`sudo apt-get install python3.11 "
        "python3.11-venv`, `pyenv install 3.11` or `uv python install 3.11`), or set SEA_PYTHON "
        "to one."
    )
