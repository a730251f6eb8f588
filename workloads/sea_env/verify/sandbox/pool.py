"""The sandbox of a worker: a few waiting processes, started when first needed."""

import asyncio
import logging
import uuid
from dataclasses import dataclass
from typing import Any

from sea_env.domains.database import Database
from sea_env.tokens import plain_json
from sea_env.verify.sandbox.command import Walls
from sea_env.verify.sandbox.inside.child import shortened
from sea_env.verify.sandbox.limits import FunctionLimits
from sea_env.verify.sandbox.process import SandboxError, SandboxProcess

_log = logging.getLogger(__name__)
# Functions are short and CPU-bound; more processes would each hold the databases again.
_PROCESSES = 2
_DATABASES = 4
"""Per process; a retail database is 2.8 MB of JSON and takes about 20 MB there."""


@dataclass(frozen=True)
class Judged:
    """A function's verdict; a function that failed has reward 0 and the reason."""

    reward: float
    reason: str
    failed: bool = False


class FunctionSandbox:
    """Runs verification functions for many episodes at a time; `close` it at the end."""

    def __init__(
        self,
        limits: FunctionLimits | None = None,
        processes: int = _PROCESSES,
        walls: Walls | None = None,
    ) -> None:
        """`walls` None takes the strongest that the machine allows."""
        self._limits = limits or FunctionLimits()
        # Also bounds how many processes exist: one is started only by a holder of the semaphore.
        self._free = asyncio.Semaphore(processes)
        self._idle: list[SandboxProcess] = []
        self._closed = False
        self.walls = walls
        """What separates the functions from the pod; known once a process runs."""

    async def run(self, source: str, episode: dict[str, Any], database: Database) -> Judged:
        """Runs `verify(episode)` of `source`; `inside.episode.NOTHING` lists an episode's parts.

        Raises SandboxError if the sandbox, not the function, is at fault.
        """
        async with self._free:
            # A process that fails or is cancelled in between is not put back: it may still answer.
            process = await self._take(_key(database))
            key = await self._give(process, database)
            answer = await process.ask({"source": source, "episode": episode, "database": key})
            # Before the answer is judged: its content says nothing about the process, which did
            # answer.
            await self._put_back(process)
        if "broken" in answer:
            raise SandboxError(f"The sandbox broke: {answer['broken']}.")
        return _judged(answer)

    async def close(self) -> None:
        """Ends all idle processes; busy ones end when they are done."""
        # First: a busy process then closes itself in `_put_back`.
        self._closed = True
        while self._idle:
            await self._idle.pop().close()

    async def _put_back(self, process: SandboxProcess) -> None:
        if self._closed:
            await process.close()
        else:
            self._idle.append(process)

    async def _take(self, key: str) -> SandboxProcess:
        """An idle process, preferably one that has the database; or a new one."""
        self._idle = [process for process in self._idle if process.alive]
        # `pop` takes from the end, where a process that has the database is sorted to.
        self._idle.sort(key=lambda process: key in process.keys)
        return self._idle.pop() if self._idle else await self._start()

    async def _start(self) -> SandboxProcess:
        if self.walls is not None:
            return await SandboxProcess.start(self.walls, self._limits)
        try:
            # The trivial function in `start` is the test: bwrap may be installed and still be
            # forbidden.
            process = await SandboxProcess.start(Walls.BOTH, self._limits)
            self.walls = Walls.BOTH
        except SandboxError as error:
            _log.warning("Verification functions run behind seccomp alone: %s", error)
            process = await self._start_behind_filter(error)
            self.walls = Walls.FILTER
        return process

    async def _start_behind_filter(self, first: SandboxError) -> SandboxProcess:
        try:
            return await SandboxProcess.start(Walls.FILTER, self._limits)
        except SandboxError as error:
            raise SandboxError(
                "Verification functions can't be run here, since they are run in a sandbox or not "
                f"at all. {first} {error} Install bubblewrap, or use a kernel with seccomp filters."
            ) from error

    async def _give(self, process: SandboxProcess, database: Database) -> str:
        """Sends the database unless the process has it; returns its key."""
        key = _key(database)
        if key in process.keys:
            # Moved to the end: a dict keeps insertion order, and the oldest key is forgotten first.
            process.keys[key] = process.keys.pop(key)
            return key
        while len(process.keys) >= _DATABASES:
            oldest = next(iter(process.keys))
            # Forget before the key is dropped here: if asking fails, the process is gone with its
            # keys.
            await process.ask({"forget": oldest})
            del process.keys[oldest]
        await process.ask({"keep": key, "agent": database.agent, "user": database.user})
        # Only once the process has answered that it keeps it.
        process.keys[key] = None
        return key


class Sandboxes:
    """The sandbox of a worker whose job may change the limits while episodes run."""

    def __init__(self) -> None:
        self._limits = FunctionLimits()
        self._sandbox = FunctionSandbox(self._limits)

    async def of(self, limits: FunctionLimits) -> FunctionSandbox:
        """The sandbox with these limits; one with other limits finishes what it has begun."""
        if limits != self._limits:
            # Replaced before the await: a concurrent call already gets the new one.
            old, self._limits = self._sandbox, limits
            self._sandbox = FunctionSandbox(limits)
            await old.close()
        return self._sandbox

    async def close(self) -> None:
        await self._sandbox.close()


def _key(database: Database) -> str:
    known = database.memo.get("sandbox")
    if known is None:
        # An identity per object, not a hash: hashing megabytes of JSON per episode would cost more.
        known = database.memo["sandbox"] = uuid.uuid4().hex
    return str(known)


def _judged(answer: dict[str, Any]) -> Judged:
    """Checks the answer again: the function may have written it itself."""
    if "fault" in answer:
        return _failed(str(answer["fault"]))
    try:
        said = plain_json.loads(answer["output"])
        if "fault" in said:
            return _failed(str(said["fault"]))
        reward, reason = said["reward"], shortened(str(said["reason"]))
        if isinstance(reward, float) and 0 <= reward <= 1:
            return Judged(reward, reason)
    except (ValueError, TypeError, KeyError):
        pass
    return _failed("it answered something that is no verdict")


def _failed(why: str) -> Judged:
    reason = shortened(f"The verification function failed: {why.rstrip('. :')}")
    return Judged(0.0, f"{reason}.", failed=True)
