"""One running sandbox: the bubblewrap process, the container's main process in it, and signals."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

CHUNK = 1 << 16
APPEAR_SECONDS = 60.0


class SandboxProcess:
    """bubblewrap outside, its init as PID 1 of the namespace, the container's main process below.

    bubblewrap doesn't pass signals on, so they go to the main process itself.
    """

    def __init__(self, process: asyncio.subprocess.Process, output: asyncio.Task[None]) -> None:
        self._process = process
        self._output = output
        self._exit = asyncio.ensure_future(process.wait())

    @classmethod
    async def start(
        cls, argv: Sequence[str], env: Mapping[str, str], on_output: Callable[[bytes], None]
    ) -> Self:
        """Start it; everything it prints (stdout and stderr) goes to `on_output` in chunks."""
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
        """The exit code (128 + signal where a signal ended it), once all output is delivered."""
        code = await asyncio.shield(self._exit)
        await asyncio.shield(self._output)
        return code if code >= 0 else 128 - code

    def main_pid(self) -> int | None:
        """Host PID of the container's main process; None before it exists and after it ended."""
        init = first_child(self._process.pid)
        return first_child(init) if init else None

    async def appeared(self) -> int | None:
        """The main process's PID once there is one; None if the sandbox ends or takes too long."""
        deadline = asyncio.get_running_loop().time() + APPEAR_SECONDS
        while not self._exit.done() and asyncio.get_running_loop().time() < deadline:
            pid = self.main_pid()
            if pid is not None:
                return pid
            await asyncio.sleep(0.005)
        return None

    def terminate(self) -> None:
        """SIGTERM to the main process; a sandbox that has none yet is killed."""
        pid = self.main_pid()
        if pid is None:
            self.kill()
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to the PID namespace's init: the kernel ends every process inside."""
        for pid in (first_child(self._process.pid), self._process.pid):
            if pid is not None and not self._exit.done():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    return


def first_child(pid: int) -> int | None:
    """The oldest child of a process."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return None
    return int(children[0]) if children else None


async def _pump(stream: asyncio.StreamReader, on_output: Callable[[bytes], None]) -> None:
    while chunk := await stream.read(CHUNK):
        on_output(chunk)
