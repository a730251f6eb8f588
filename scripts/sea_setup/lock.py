"""`make lock`: resolves `requirements/cpu.lock` anew from `pyproject.toml`."""

from __future__ import annotations

import os
from pathlib import Path

from sea_setup import pip_settings, pythons
from sea_setup.packages import LOCK
from sea_setup.progress import Progress
from sea_setup.tools import Tools

_EXTRAS = ("operator", "workloads", "cpu", "devcluster")
_TIMEOUT_SECONDS = 900.0


def command(uv: Path) -> list[str]:
    """The resolution: one lock for Python 3.11 to 3.13, with the hash of every file."""
    extras = [part for extra in _EXTRAS for part in ("--extra", extra)]
    return [
        str(uv),
        "pip",
        "compile",
        "pyproject.toml",
        "requirements/extra.in",
        *extras,
        "--group",
        "dev",
        "--override",
        "requirements/overrides.txt",
        "--generate-hashes",
        "--universal",
        "--python-version",
        "3.11",
        "--no-annotate",
        "--custom-compile-command",
        "make lock",
        "--output-file",
        LOCK,
    ]


def write(root: Path, tools: Tools, progress: Progress, environment: dict[str, str]) -> None:
    """Writes the lock; versions in it stay unless pyproject.toml forbids them.

    Raises:
        SetupError: No network, or no set of versions fits.
    """
    options = pip_settings.read(Path(pythons.find()))
    settings = pip_settings.translate(options, os.environ)
    merged = {**environment, **settings.environment}
    progress.say(f"Resolving {LOCK}")
    progress.run("Resolving the lock", command(tools.uv), merged, _TIMEOUT_SECONDS, root)
    progress.say(f"{LOCK} is up to date; delete it first to move to the newest versions.")
