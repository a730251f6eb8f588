"""One running sandbox: the bubblewrap process, the container's main process, signals, PIDs."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Self

from sea_devcluster.paths import write_private
from sea_devcluster.processes import ProcessId

CHUNK = 1 << 16
# bubblewrap needs milliseconds, on a machine that starts many pods at once seconds.
MAX_APPEAR_SECONDS = 60.0
PIDS_FILE = "pids.json"


class SandboxProcess:
    """bubblewrap outside, its init as PID 1 of the namespace, the container's main process below.

    bubblewrap doesn't pass signals on, so they go to the main process itself.
    """

    def __init__(self, process: asyncio.subprocess.Process, output: asyncio.Task[None]) -> None:
        self._process = process
        self._output = output
        # One waiter for all: `wait` may be called and cancelled by several tasks.
        self._exit = asyncio.ensure_future(process.wait())

    @classmethod
    async def start(
        cls, argv: Sequence[str], env: Mapping[str, str], on_output: Callable[[bytes], None]
    ) -> Self:
        """Starts it; `on_output` receives stdout and stderr in chunks."""
        process = await asyncio.create_subprocess_exec(
            *argv,
            env=dict(env),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            # A Ctrl-C in the agent's terminal is the agent's to handle, not the pods'.
            start_new_session=True,
            cwd="/",
        )
        assert process.stdout is not None, "stdout is a pipe"
        return cls(process, asyncio.ensure_future(_pump(process.stdout, on_output)))

    @property
    def pid(self) -> int:
        """bubblewrap's own PID on the host: killing it ends everything inside."""
        return self._process.pid

    async def wait(self) -> int:
        """The exit code (128 + signal if a signal ended it), once all output is delivered."""
        # shield: a cancelled caller (a grace period that is over) must not cancel the shared wait.
        code = await asyncio.shield(self._exit)
        # Exit first, then the rest of the output, which is still in the pipe.
        await asyncio.shield(self._output)
        return code if code >= 0 else 128 - code

    def main_pid(self) -> int | None:
        """PID on the host of the main process; None before it exists and after it ended."""
        init = first_child(self._process.pid)
        return first_child(init) if init else None

    async def appeared(self) -> int | None:
        """PID of the main process once it exists; None if the sandbox ends or takes too long."""
        deadline = asyncio.get_running_loop().time() + MAX_APPEAR_SECONDS
        while not self._exit.done() and asyncio.get_running_loop().time() < deadline:
            pid = self.main_pid()
            if pid is not None:
                return pid
            await asyncio.sleep(0.005)
        return None

    def terminate(self) -> None:
        """Sends SIGTERM to the main process; kills a sandbox that has none yet."""
        pid = self.main_pid()
        if pid is None:
            self.kill()
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)

    def kill(self) -> None:
        """Kills the PID namespace's init, with which the kernel ends every process inside."""
        # The namespace's init first: with it the kernel kills everything inside
        # (pid_namespaces(7)). bubblewrap itself only if it has no child yet.
        for pid in (first_child(self._process.pid), self._process.pid):
            if pid is not None and not self._exit.done():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    return


def first_child(pid: int) -> int | None:
    """The oldest child of a process."""
    try:
        # Needs CONFIG_PROC_CHILDREN, which distributions set.
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return None
    return int(children[0]) if children else None


async def _pump(stream: asyncio.StreamReader, on_output: Callable[[bytes], None]) -> None:
    while chunk := await stream.read(CHUNK):
        on_output(chunk)


async def write_pids(folder: Path, process: SandboxProcess) -> None:
    """Writes `pids.json`: bubblewrap's process at once, the main process as soon as it exists."""
    # At once: a kill of the agent before the main process appears must leave a record, too.
    _write_pids(folder, process.pid, None)
    _write_pids(folder, process.pid, await process.appeared())


def recorded_main_pid(folder: Path) -> int | None:
    """PID on the host of the main process of the container in `folder`; None if it has ended."""
    main = _read_pids(folder / PIDS_FILE).get("main")
    return main.pid if main is not None and main.alive() else None


def kill_leftovers(pods_folder: Path) -> int:
    """Kills the sandboxes of an agent that was killed; returns how many.

    Normally there are none: bubblewrap ends with its parent.
    """
    # Start times are recorded as well (`ProcessId`): a recycled PID isn't killed.
    recorded = [_read_pids(path) for path in pods_folder.glob(f"*/containers/*/{PIDS_FILE}")]
    return sum(one["bwrap"].send(signal.SIGKILL) for one in recorded if "bwrap" in one)


def _read_pids(path: Path) -> dict[str, ProcessId]:
    try:
        content = json.loads(path.read_text())
        return {name: ProcessId(**identity) for name, identity in content.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write_pids(folder: Path, bwrap: int, main: int | None) -> None:
    content = {}
    for name, pid in (("bwrap", bwrap), ("main", main)):
        with contextlib.suppress(ProcessLookupError):  # it has ended already
            if pid is not None:
                content[name] = asdict(ProcessId.of(pid))
    write_private(folder / PIDS_FILE, json.dumps(content))
