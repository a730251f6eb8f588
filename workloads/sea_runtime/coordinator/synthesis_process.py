"""The process that makes a Synthesis stage's data, as the coordinator sees it."""

import asyncio
import contextlib
import json
import logging
import os
import sys

from sea_api.contract import SYNTHESIS_API_KEY, synthesis_key
from sea_runtime.coordinator.synthesis_main import Order

log = logging.getLogger(__name__)

_MODULE = "sea_runtime.coordinator.synthesis_main"
_NICENESS = 5
"""Below the coordinator itself, whose event loop answers all pods."""


class SynthesisProcess:
    """A started process; `start` is the only way to get one. It dies with this process."""

    def __init__(self, request: str, process: asyncio.subprocess.Process) -> None:
        self.request = request
        """What it was started for; equal text for an equal request."""
        self.made: dict[str, int] = {}
        """Accepted tasks by domain."""
        self.advanced = False
        """Whether it has made anything itself, beyond what it found."""
        self.error = ""
        """The sentence that it failed with, if any."""
        self.permanent = False
        """Whether another attempt would fail in the same way."""
        self._process = process
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, stage: str, request: str, order: Order) -> "SynthesisProcess":
        key = os.environ.get(synthesis_key(stage), "")
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            _MODULE,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, SYNTHESIS_API_KEY: key},
            # A Ctrl-C in a terminal goes to the whole process group: the parent
            # decides when this one ends.
            start_new_session=True,
        )
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, _NICENESS)
        assert process.stdin is not None
        # Stdin stays open: its end is how the process notices that we are gone.
        process.stdin.write(order.to_line())
        await process.stdin.drain()
        return cls(request, process)

    @property
    def total(self) -> int:
        return sum(self.made.values())

    @property
    def ended(self) -> bool:
        # Both: the error is its last line, which may still be in the pipe after it has exited.
        return self._process.returncode is not None and self._reader.done()

    @property
    def problem(self) -> str:
        """Why it failed; empty if it succeeded or still runs."""
        code = self._process.returncode
        return (self.error or f"the process ended with code {code}.") if code else ""

    async def stop(self) -> None:
        """Ends it at once; what it has made is in its journals."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        # A killed process closes its pipe, which ends the reader.
        await self._process.wait()
        await self._reader

    async def _read(self) -> None:
        """Until the process closes its end: if nobody read its output, it would block."""
        assert self._process.stdout is not None
        while True:
            try:
                line = await self._process.stdout.readline()
            except ValueError:  # asyncio has dropped it
                log.warning("synthesis: a line of more than 64 KiB is dropped")
                continue
            if not line:
                return
            self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        match event:
            case {"error": error}:
                self.error = str(error)
                self.permanent = bool(event.get("permanent"))
            case {"domain": str(domain), "made": int(made)}:
                # The first count of a domain may come from journals: only growth
                # after it is its own work.
                self.advanced |= made > self.made.get(domain, made)
                self.made[domain] = made
            case _:
                log.warning("synthesis: %s", line.decode(errors="replace").rstrip())
