"""One training process as the supervisor sees it: pipes, exit code, and a sure end.

The process leads a session of its own, so that one signal reaches all it started, and the kernel
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
from typing import Any

from sea_api import logs
from sea_runtime.trainer.report import REPORT_FD
from sea_runtime.trainer.world import World

log = logging.getLogger(__name__)
PR_SET_PDEATHSIG = 1
GRACE_S = 5.0
NICENESS = 5
PIECE = 1 << 14
MODULE = "sea_runtime.trainer.process"
_libc = ctypes.CDLL(None, use_errno=True)


def _before_exec() -> None:
    """Where cores are shared, an engine that is paused for new weights goes before training."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.nice(NICENESS)


class Child:
    """A started process; `start` is the only way to get one."""

    def __init__(self, process: asyncio.subprocess.Process, report: int) -> None:
        self._process = process
        self.joined = 0
        self.reported: tuple[str, str] | None = None
        self.last_line = ""
        self.heard = time.monotonic()
        self._tasks = [
            asyncio.create_task(self._read_reports(report)),
            asyncio.create_task(self._forward_errors()),
        ]

    @classmethod
    async def start(cls, environment: Mapping[str, str], module: str = MODULE) -> "Child":
        read, write = os.pipe()
        os.set_inheritable(write, True)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                module,
                stdin=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={**environment, REPORT_FD: str(write)},
                pass_fds=(write,),
                start_new_session=True,
                preexec_fn=_before_exec,
                limit=1 << 20,
            )
        finally:
            os.close(write)
        return cls(process, read)

    @property
    def exit_code(self) -> int | None:
        return self._process.returncode

    async def hand(self, world: World) -> None:
        """Gives the process its world."""
        assert self._process.stdin is not None
        with contextlib.suppress(ConnectionError):
            self._process.stdin.write(world.to_line().encode())
            await self._process.stdin.drain()
        self.heard = time.monotonic()

    async def ended(self) -> None:
        """Until the process has ended and all that it wrote was read."""
        await self._process.wait()
        await asyncio.wait(self._tasks)

    async def kill(self) -> None:
        """SIGTERM to the whole session, SIGKILL after a grace; returns when nothing is left."""
        self._signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), GRACE_S)
        self._signal(signal.SIGKILL)
        await self._process.wait()
        await asyncio.wait(self._tasks, timeout=GRACE_S)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    async def _read_reports(self, descriptor: int) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        pipe = os.fdopen(descriptor, "rb")
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        while line := await reader.readline():
            self.heard = time.monotonic()
            self._take(json.loads(line))

    def _take(self, event: dict[str, Any]) -> None:
        if event["event"] == "joined":
            self.joined = int(event["attempt"])
        elif event["event"] == "failed":
            self.reported = (str(event["cause"]), str(event["message"])[:1000])

    async def _forward_errors(self) -> None:
        """Whole lines, so that processes don't mix theirs; a progress bar, which never ends one,
        in pieces."""
        assert self._process.stderr is not None
        kept = b""
        while piece := await self._process.stderr.read(PIECE):
            kept += piece
            end = kept.rfind(b"\n") + 1 or (len(kept) if len(kept) > PIECE else 0)
            self._forward(kept[:end])
            kept = kept[end:]
        self._forward(kept)

    def _forward(self, data: bytes) -> None:
        text = data.decode(errors="replace")
        sys.stderr.write(text)
        lines = [line.rstrip() for line in text.splitlines() if line.strip()]
        self.last_line = logs.message_of(lines[-1])[:1000] if lines else self.last_line
