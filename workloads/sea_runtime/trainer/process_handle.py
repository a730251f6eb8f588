"""One training process as the supervisor sees it: pipes, exit code, and a certain end.

The process leads its own session, so that one signal reaches everything it started, and the kernel
kills it when the supervisor dies (PR_SET_PDEATHSIG).
"""

import asyncio
import contextlib
import ctypes
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sea_api import logs
from sea_api.v1alpha1.policy import Cause
from sea_runtime.trainer.process_protocol import (
    STACKS_FILE,
    STACKS_SIGNAL,
    STATUS_FD,
    RankAssignment,
    ReportedFailure,
)

log = logging.getLogger(__name__)
PR_SET_PDEATHSIG = 1
# Short: a training process saves nothing on SIGTERM; a checkpoint is either committed or not.
GRACE_SECONDS = 5.0
STACKS_SECONDS, STACKS_LOOKS = 2.0, 20
"""How long a process has to write its stacks, and how often that is looked at."""
NICENESS = 5
"""Where cores are shared, an engine that is paused for new weights runs before training does."""
READ_BYTES = 1 << 14
MAX_MESSAGE = 1000
"""Characters of an error message that are kept."""
MODULE = "sea_runtime.trainer.process"
# Loaded here, not in the fork: between fork and exec another thread's lock may be held forever.
_libc = ctypes.CDLL(None, use_errno=True)


def _before_exec() -> None:
    # prctl(2): the signal is sent when the *thread* that forked ends, so only the event loop's
    # thread may start processes.
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.nice(NICENESS)


class ProcessHandle:
    """A started process; `start` is the only way to get one."""

    def __init__(
        self, process: asyncio.subprocess.Process, status_fd: int, stacks: Path | None = None
    ) -> None:
        self._process, self._stacks = process, stacks
        self.joined = 0
        """Attempt that the process has joined."""
        self.reported: ReportedFailure | None = None
        self.last_line = ""
        self.last_heard = time.monotonic()
        self.longest_silence = 0.0
        """Seconds between two signs of progress since it joined, at most."""
        self.signs = 0
        """Signs of progress since it joined."""
        self._tasks = [
            asyncio.create_task(self._read_status(status_fd)),
            asyncio.create_task(self._forward_stderr()),
        ]

    @classmethod
    async def start(
        cls, environment: Mapping[str, str], module: str = MODULE, stacks: Path | None = None
    ) -> "ProcessHandle":
        """Starts `python -m module`, which imports its libraries and waits for an assignment.

        Args:
            stacks: file that the process writes its stacks to when it is asked for them.
        """
        read, write = os.pipe()
        # Only the writing end: descriptors of os.pipe are closed on exec unless made inheritable
        # (PEP 446).
        os.set_inheritable(write, True)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                module,
                stdin=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={
                    **environment,
                    STATUS_FD: str(write),
                    **({STACKS_FILE: str(stacks)} if stacks else {}),
                },
                pass_fds=(write,),
                # `kill` signals the process group, which then has the child's PID.
                start_new_session=True,
                preexec_fn=_before_exec,
                limit=1 << 20,
            )
        finally:
            # Also after a success: while this process holds the writing end, the reader never sees
            # the end of the pipe.
            os.close(write)
        return cls(process, read, stacks)

    @property
    def exit_code(self) -> int | None:
        """As in `subprocess`: None while it runs, negative for a signal."""
        return self._process.returncode

    async def assign(self, assignment: RankAssignment) -> None:
        """Sends the process its rank."""
        assert self._process.stdin is not None
        with contextlib.suppress(ConnectionError):  # it has died: its exit code says so
            # One line is far below the pipe's buffer, so this doesn't wait for a process that still
            # imports.
            self._process.stdin.write(assignment.to_line().encode())
            await self._process.stdin.drain()
        # A warm process may have waited for hours: silence is counted from its assignment.
        self.last_heard = time.monotonic()

    async def stacks(self) -> str:
        """What all its threads do now, also where they hang in C; empty if it doesn't say."""
        if self._stacks is None or self.exit_code is not None:
            return ""
        before = self._stacks.stat().st_size if self._stacks.exists() else 0
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(STACKS_SIGNAL)
        # `faulthandler` writes within milliseconds; in an uninterruptible system call, never.
        for _ in range(STACKS_LOOKS):
            await asyncio.sleep(STACKS_SECONDS / STACKS_LOOKS)
            if self._stacks.exists() and self._stacks.stat().st_size > before:
                await asyncio.sleep(STACKS_SECONDS / STACKS_LOOKS)
                return self._stacks.read_bytes()[before:].decode(errors="replace")
        return ""

    async def ended(self) -> None:
        """Waits until the process has ended and all its output is read."""
        await self._process.wait()
        # The last report and the last line of stderr may still be in the pipes when the process is
        # gone.
        await asyncio.wait(self._tasks)

    async def kill(self) -> None:
        """SIGTERM to the whole session, SIGKILL after a grace; returns once nothing is left."""
        self._signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), GRACE_SECONDS)
        # Also where the process itself has ended: what it started may still run in its session.
        self._signal(signal.SIGKILL)
        await self._process.wait()
        # A grandchild in a session of its own may keep the pipes open: don't wait for their end
        # forever.
        await asyncio.wait(self._tasks, timeout=GRACE_SECONDS)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            # The group outlives its leader: it exists as long as any member does.
            os.killpg(self._process.pid, number)

    async def _read_status(self, descriptor: int) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        pipe = os.fdopen(descriptor, "rb")
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        while line := await reader.readline():
            now = time.monotonic()
            if self.joined:
                self.signs += 1
                self.longest_silence = max(self.longest_silence, now - self.last_heard)
            self.last_heard = now
            self._take(json.loads(line))

    def _take(self, event: dict[str, Any]) -> None:
        if event["event"] == "joined":
            self.joined = int(event["attempt"])
        elif event["event"] == "failed":
            message = str(event["message"])[:MAX_MESSAGE]
            self.reported = ReportedFailure(Cause(event["cause"]), message)

    async def _forward_stderr(self) -> None:
        """Forwards whole lines, so that those of several processes do not mix.

        A progress bar never ends its line: it is forwarded in pieces, or the pipe would fill up
        and block the process.
        """
        assert self._process.stderr is not None
        kept = b""
        while read := await self._process.stderr.read(READ_BYTES):
            kept += read
            # Whole lines if there are any; otherwise everything once it is longer than one read.
            end = kept.rfind(b"\n") + 1 or (len(kept) if len(kept) > READ_BYTES else 0)
            self._forward(kept[:end])
            kept = kept[end:]
        self._forward(kept)

    def _forward(self, data: bytes) -> None:
        text = data.decode(errors="replace")
        sys.stderr.write(text)
        lines = [line.rstrip() for line in text.splitlines() if line.strip()]
        self.last_line = logs.message_of(lines[-1])[:MAX_MESSAGE] if lines else self.last_line
