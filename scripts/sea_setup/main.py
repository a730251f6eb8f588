"""The order of `make setup`: cheap checks, uv, packages, control plane."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from sea_setup import packages
from sea_setup.console import Console, SetupError
from sea_setup.tools import Tools, plain_environment

ROOT = Path(__file__).resolve().parents[2]
_INTERRUPTED = 130


def main(argv: list[str]) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/setup.py")
    parser.add_argument("--lock", action="store_true", help="resolve requirements/cpu.lock again")
    parser.add_argument(
        "--packages-only", action="store_true", help="for a cluster of your own: no control plane"
    )
    parser.add_argument(
        "--memory-gib", type=float, default=0.0, help="what the demo will need on this machine"
    )
    arguments = parser.parse_args(argv)
    sys.path.insert(0, str(ROOT / "devcluster"))
    from sea_devcluster.locks import exclusive

    console = Console()
    (ROOT / ".tools").mkdir(exist_ok=True)
    waiting = "Another `make setup` runs in this checkout; waiting for it."
    try:
        with exclusive(ROOT / ".tools" / "setup.lock", lambda: console.say(waiting)):
            tools = Tools(ROOT, console)
            if arguments.lock:
                tools.ensure_uv()
                packages.write_lock(ROOT, tools, console)
            else:
                devcluster = not arguments.packages_only
                setup(tools, console, arguments.memory_gib, devcluster)
    except SetupError as error:
        print(f"make setup: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("make setup: interrupted; the next run continues where this one stopped.")
        return _INTERRUPTED
    return 0


def setup(
    tools: Tools,
    console: Console,
    memory_gib: float = 0.0,
    devcluster: bool = True,
) -> None:
    """Everything that isn't done yet.

    Args:
        tools: uv and Go.
        console: Where to report.
        memory_gib: What the pods will need.
        devcluster: Whether pods will run here, which takes a sandbox and a control plane.

    Raises:
        SetupError: Something is missing.
    """
    if platform.system() != "Linux":
        raise SetupError(
            f"The devcluster runs on Linux and this is {platform.system()}; use a Linux machine "
            "or a virtual one."
        )
    if devcluster:
        from sea_devcluster.machine import total_memory

        require_memory(memory_gib, total_memory())
        ensure_bubblewrap(console)
    packages.ensure(ROOT, tools, console)
    if devcluster:
        ensure_control_plane(tools)
    console.say("Ready.")


def require_memory(needed_gib: float, total: int) -> None:
    """Checks the machine's size; the demo itself checks how much is free when it starts.

    Args:
        needed_gib: What the program that is set up for needs.
        total: Bytes of the machine, or the container's limit.

    Raises:
        SetupError: The machine is too small, whatever programs end.
    """
    if total < needed_gib * 2**30:
        raise SetupError(
            f"This needs {needed_gib:g} GiB of memory and the machine has {total / 2**30:.1f} GiB "
            "in all; use a larger machine, or raise the container's limit."
        )


def ensure_bubblewrap(console: Console) -> None:
    """Installs bubblewrap if this user may, and makes a sandbox to see that it works.

    Raises:
        SetupError: It is missing, or the kernel or container forbids it.
    """
    from sea_devcluster import bubblewrap

    found = bubblewrap.find()
    if found.program is None and os.geteuid() == 0 and shutil.which("apt-get"):
        console.say("bubblewrap by apt-get")
        quiet = {**plain_environment(), "DEBIAN_FRONTEND": "noninteractive"}
        console.run("Updating the package lists", ["apt-get", "update", "-q"], quiet)
        command = ["apt-get", "install", "-q", "-y", "--no-install-recommends", "bubblewrap"]
        console.run("Installing bubblewrap", command, quiet)
        found = bubblewrap.find()
    sentence = bubblewrap.problem(found)
    if sentence:
        raise SetupError(sentence)


def ensure_control_plane(tools: Tools) -> None:
    """Builds the control plane's programs that are missing.

    Raises:
        SetupError: They can't be built.
    """
    command = [str(ROOT / ".venv" / "bin" / "python"), "-m", "sea_devcluster.build"]
    environment = plain_environment()
    asked = subprocess.run([*command, "--needs-go"], env=environment, check=False, timeout=120)
    if asked.returncode == 0:
        tools.ensure_uv()
        tools.ensure_go()
    # Without a time-out: the build has its own, and shows its progress itself.
    done = subprocess.run(command, env=environment, check=False, stdout=subprocess.DEVNULL)
    if done.returncode != 0:
        raise SetupError("the control plane is missing, see above.")
