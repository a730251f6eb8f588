"""PIDs on disk: for tests and chaos that end a process, and to clean up after a crash."""

import contextlib
import json
import os
import signal
from pathlib import Path

from .process import SandboxProcess

PIDS_FILE = "pids.json"


async def write_pids(folder: Path, process: SandboxProcess) -> None:
    """Write `pids.json`: bubblewrap's PID at once, the main process's as soon as there is one."""
    _write(folder, process.pid, None)
    _write(folder, process.pid, await process.appeared())


def main_pid(folder: Path) -> int | None:
    """Host PID of the main process of the container with that folder, None if it isn't running."""
    try:
        recorded = json.loads((folder / PIDS_FILE).read_text())
    except (OSError, ValueError):
        return None
    alive = recorded["main"] and start_time(recorded["main"]) == recorded["main_start"]
    return int(recorded["main"]) if alive else None


def kill_leftovers(pods_folder: Path) -> int:
    """SIGKILL what a killed agent left: normally nothing, containers die with their agent."""
    killed = 0
    for path in pods_folder.glob(f"*/containers/*/{PIDS_FILE}"):
        with contextlib.suppress(OSError, ValueError, KeyError):
            recorded = json.loads(path.read_text())
            if start_time(recorded["bwrap"]) == recorded["bwrap_start"]:
                os.kill(recorded["bwrap"], signal.SIGKILL)
                killed += 1
    return killed


def start_time(pid: int) -> int | None:
    """When a process started (clock ticks since boot): with the PID it identifies a process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The second field, the program's name in parentheses, may hold blanks itself.
    return int(stat.rpartition(")")[2].split()[19])


def _write(folder: Path, bwrap: int, main: int | None) -> None:
    content = {
        "bwrap": bwrap,
        "bwrap_start": start_time(bwrap),
        "main": main,
        "main_start": start_time(main) if main else None,
    }
    partial = folder / f".{PIDS_FILE}.partial"
    partial.write_text(json.dumps(content))
    partial.rename(folder / PIDS_FILE)
