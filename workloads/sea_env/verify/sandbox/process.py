"""One process of the sandbox, as the worker sees it: ask, get an answer, or replace it."""

import asyncio
import json
from asyncio.subprocess import PIPE, Process
from typing import Any

from sea_env.errors import EnvError
from sea_env.verify.sandbox import command
from sea_env.verify.sandbox.command import Walls
from sea_env.verify.sandbox.inside import frames
from sea_env.verify.sandbox.limits import FunctionLimits

_MARGIN_SECONDS = 60.0
"""Added to the function's own time-out; after that the process itself counts as broken."""
_GOODBYE_SECONDS = 2.0


class SandboxError(EnvError):
    """The sandbox is not available or broke: the episode has no verdict and is run again."""

    permanent = False


class SandboxProcess:
    """Answers one question at a time."""

    def __init__(self, process: Process, limits: FunctionLimits) -> None:
        self.keys: dict[str, None] = {}
        """Databases that it keeps, the least recently used first."""
        self._process = process
        self._timeout_s = limits.wall_s + _MARGIN_SECONDS

    @classmethod
    async def start(cls, walls: Walls, limits: FunctionLimits) -> "SandboxProcess":
        """Starts one and has it run a trivial function. Raises SandboxError."""
        try:
            process = await asyncio.create_subprocess_exec(
                *command.command(walls, limits),
                stdin=PIPE,
                # Frames; the function itself can't reach it, since its fork closes all descriptors
                # but one.
                stdout=PIPE,
                stderr=PIPE,
                env=command.ENVIRONMENT,
                cwd="/",
            )
        except OSError as error:
            raise SandboxError(f"The sandbox ({walls}) can't be started: {error}.") from error
        started = cls(process, limits)
        # The zygote's first frame is the answer of its own check; a question before it would be
        # answered out of step.
        answer = await started._hear()
        if "output" not in answer:
            await started.close()
            raise SandboxError(f"The sandbox ({walls}) doesn't work: {answer.get('broken')}.")
        return started

    async def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """The answer to one message. Raises SandboxError, after which the process is gone."""
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(frames.encode(message))
            # A database of megabytes exceeds the pipe: drain waits until the process reads.
            await asyncio.wait_for(stdin.drain(), self._timeout_s)
        except (OSError, TimeoutError) as error:
            await self._gone(f"it takes nothing ({error})", error)
        # Cancelled while writing: half a frame may be in the pipe, so the process can't be used
        # again.
        except BaseException:
            self._kill()
            raise
        return await self._hear()

    async def _hear(self) -> dict[str, Any]:
        stdout = self._process.stdout
        assert stdout is not None
        try:
            async with asyncio.timeout(self._timeout_s):
                # StreamReader's 64 KiB limit applies to readline and readuntil only, not to
                # readexactly.
                header = await stdout.readexactly(frames.HEADER.size)
                body = await stdout.readexactly(frames.HEADER.unpack(header)[0])
            answer: dict[str, Any] = json.loads(body)
        except (asyncio.IncompleteReadError, TimeoutError, ValueError) as error:
            await self._gone("it answers no more", error)
        except BaseException:
            # A cancelled episode leaves an answer behind that the next one would read as its own.
            self._kill()
            raise
        return answer

    async def _gone(self, problem: str, error: Exception) -> None:
        stderr = self._process.stderr
        assert stderr is not None
        # Kill before reading stderr, which ends with the process.
        self._kill()
        try:
            said = (await asyncio.wait_for(stderr.read(2000), 5.0)).decode(errors="replace")
        except TimeoutError:
            said = ""
        await self.close()
        raise SandboxError(f"A process of the sandbox broke: {problem}. {said.strip()}") from error

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    def _kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()

    async def close(self) -> None:
        """Ends the process, giving it time to exit by itself.

        A killed one leaves bubblewrap's half as a zombie in a pod whose first process adopts
        orphans but doesn't reap them.
        """
        if self._process.stdin is not None:
            # The zygote ends by itself at the end of stdin.
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), _GOODBYE_SECONDS)
        except TimeoutError:
            self._kill()
            await self._process.wait()
