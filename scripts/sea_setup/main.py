"""The order of `make setup`: cheap checks, tools, packages, control plane."""

from __future__ import annotations

import argparse
import fcntl
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sea_setup import lock, machine, pip_settings, pythons, stamp, torch_build
from sea_setup.errors import SetupError
from sea_setup.packages import LOCK, Packages
from sea_setup.progress import Progress
from sea_setup.tools import Tools

ROOT = Path(__file__).resolve().parents[2]
_PROJECT = "pyproject.toml"
_SOURCES = (LOCK, _PROJECT)
_INTERRUPTED = 130


def main(argv: list[str]) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/setup.py")
    parser.add_argument("--lock", action="store_true", help="resolve requirements/cpu.lock anew")
    parser.add_argument("--force", action="store_true", help="make .venv anew")
    parser.add_argument(
        "--packages-only", action="store_true", help="for a cluster of your own: no control plane"
    )
    parser.add_argument(
        "--memory-gib", type=float, default=0.0, help="what the demo will need on this machine"
    )
    arguments = parser.parse_args(argv)
    sys.path.insert(0, str(ROOT / "devcluster"))
    progress = Progress(ROOT / ".tools" / "setup.log")
    try:
        with _one_at_a_time(progress):
            if arguments.lock:
                lock.write(ROOT, _tools(progress), progress, _environment())
            else:
                setup(
                    progress,
                    force=arguments.force,
                    devcluster=not arguments.packages_only,
                    memory_gib=arguments.memory_gib,
                )
    except SetupError as error:
        print(f"make setup: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("make setup: interrupted; the next run goes on where this one stopped.")
        return _INTERRUPTED
    return 0


def setup(
    progress: Progress, *, force: bool, devcluster: bool = True, memory_gib: float = 0.0
) -> None:
    """Everything, or nothing where all is done already.

    Args:
        progress: Is told what happens.
        force: Make `.venv` anew.
        devcluster: Whether pods will run here, which takes a sandbox and a control plane.
        memory_gib: What those pods will need.

    Raises:
        SetupError: Something is missing.
    """
    if platform.system() != "Linux":
        raise SetupError(
            f"The devcluster runs on Linux and this is {platform.system()}; use a Linux machine "
            "or a virtual one."
        )
    environment = _environment()
    if devcluster:
        from sea_devcluster.machine import total_memory

        machine.require_memory(memory_gib, total_memory())
        machine.ensure_bubblewrap(progress, environment)
    _ensure_packages(progress, environment, force=force)
    if devcluster:
        _ensure_control_plane(progress, environment)
    progress.say("Ready.")


def _ensure_packages(progress: Progress, environment: dict[str, str], *, force: bool) -> None:
    folder = ROOT / ".venv"
    wish, build_file = os.environ.get("SEA_TORCH", ""), ROOT / LOCK
    facts = {
        "torch": wish,
        "find-links": os.environ.get("PIP_FIND_LINKS", ""),
        "python": os.environ.get("SEA_PYTHON", ""),
    }
    target = stamp.wanted(ROOT, _SOURCES, **facts)
    changed = {*_SOURCES, *facts} if force else stamp.changes(folder, target)
    if not changed:
        return
    machine.require_disk(ROOT, shutil.disk_usage(ROOT).free)
    python = pythons.find()
    tools = _tools(progress, python)
    settings = pip_settings.translate(pip_settings.read(Path(python)), os.environ)
    pinned = torch_build.pinned_version(build_file.read_text())
    build = torch_build.choose(wish, pinned, settings.find_links)
    stamp.remove(folder)
    uv_environment = {**environment, **settings.environment}
    packages = Packages(ROOT, tools.uv, settings, progress, uv_environment)
    if changed == {_PROJECT}:
        packages.install_project()
    else:
        packages.install(python, build, fresh=force)
    stamp.write(folder, target)


def _ensure_control_plane(progress: Progress, environment: dict[str, str]) -> None:
    command = [str(ROOT / ".venv" / "bin" / "python"), "-m", "sea_devcluster.build"]
    asked = subprocess.run([*command, "--needs-go"], env=environment, check=False, timeout=120)
    if asked.returncode == 0:
        _tools(progress).ensure_go()
    # Without a time-out of its own: the build has one, and shows its progress itself.
    done = subprocess.run(command, env=environment, check=False, stdout=subprocess.DEVNULL)
    if done.returncode != 0:
        raise SetupError("the control plane is missing, see above.")


def _tools(progress: Progress, python: str | None = None) -> Tools:
    tools = Tools(ROOT, progress, _environment())
    tools.ensure_uv(python or pythons.find())
    return tools


def _environment() -> dict[str, str]:
    """The caller's environment without what would send packages elsewhere or spoil bytecode."""
    dropped = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    return {key: value for key, value in os.environ.items() if key not in dropped}


@contextmanager
def _one_at_a_time(progress: Progress) -> Iterator[None]:
    (ROOT / ".tools").mkdir(exist_ok=True)
    with (ROOT / ".tools" / "setup.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.say("Another `make setup` runs in this checkout; waiting for it.")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
