"""Checks that bubblewrap is installed and may make sandboxes; one sentence with the remedy if not.

Used by `preflight` and, before any package is installed, by `scripts/setup.py` under whatever
Python the machine has: standard library only, Python 3.9.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_PROBE = ("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--unshare-pid", "true")


@dataclass(frozen=True)
class Bubblewrap:
    """State of bubblewrap on this machine."""

    program: str | None
    """Path of `bwrap`; None if it isn't installed."""
    error: str = ""
    """Its error message when it was tried; empty if it worked."""
    apparmor_forbids: bool = False
    """Ubuntu's sysctl that forbids user namespaces to ordinary programs."""
    userns_forbidden: bool = False
    """Debian's and RHEL's sysctls that forbid user namespaces to ordinary users."""


def find() -> Bubblewrap:
    """Looks for `bwrap` and runs `true` in a sandbox."""
    program = shutil.which("bwrap")
    switches = (_sysctl("kernel/unprivileged_userns_clone"), _sysctl("user/max_user_namespaces"))
    return Bubblewrap(
        program=program,
        error=_try(program) if program else "",
        apparmor_forbids=_sysctl("kernel/apparmor_restrict_unprivileged_userns") == "1",
        userns_forbidden="0" in switches,
    )


def problem(found: Bubblewrap) -> str | None:
    """One sentence that says what is wrong and what to do; None if nothing is wrong."""
    if found.program is None:
        return (
            "Pods run under bubblewrap and there is no `bwrap` on PATH; install it with "
            "`sudo apt-get install bubblewrap` (Debian, Ubuntu), `sudo dnf install bubblewrap` "
            "(Fedora) or `sudo pacman -S bubblewrap` (Arch)."
        )
    if not found.error:
        return None
    return f"bubblewrap may not make a sandbox here ({found.error}); {_remedy(found)}"


def _remedy(found: Bubblewrap) -> str:
    if found.apparmor_forbids:
        return "run `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`."
    if found.userns_forbidden:
        return (
            "run `sudo sysctl kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000`."
        )
    return (
        "inside a container, start it with `--privileged` or with "
        "`--security-opt seccomp=unconfined --security-opt systempaths=unconfined`."
    )


def _try(program: str) -> str:
    try:
        done = subprocess.run(
            [program, *_PROBE], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return ""
    return done.stderr.strip().rstrip(".") or f"exit code {done.returncode}"


def _sysctl(name: str) -> str:
    try:
        return Path("/proc/sys", name).read_text().strip()
    except OSError:
        return ""
