"""Synthesis in a process of its own, and that process as the coordinator sees it.

One JSON line on the process's stdin says what to make (`Order`), domain by domain; progress is
written to its stdout as JSON lines. It ends when its parent does: stdin is then closed. The next
process continues with what a killed one left in its folders.

Exit codes: 0 all made; 1 with the reason as the last line `{"error": ...}`, with `"permanent":
true` if another attempt would end the same way.
"""

import asyncio
import contextlib
import json
import logging
import os
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

from sea_api import limits, logs
from sea_api.contract import SYNTHESIS_API_KEY, synthesis_key
from sea_api.errors import SeaError
from sea_api.v1alpha1.domains import file_name
from sea_data import urls
from sea_data.synthesis.journal import JournalTakenError
from sea_data.synthesis.run_state import RunSettings, RunState
from sea_data.synthesis.service import SynthesisRequest, synthesize
from sea_env.chat import Address
from sea_env.domains.database_generator import Size
from sea_runtime.store.s3 import ObjectStore

log = logging.getLogger(__name__)

_MODULE = "sea_runtime.coordinator.synthesis_process"
_NICENESS = 5
"""Below the coordinator itself, whose event loop answers all pods."""
_EVERY_S = 0.5
_LOCK_TIMEOUT_S = 20.0
_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Order:
    """What one process is to make: the same for all domains, each in a folder of its own."""

    folder: str
    domains: list[str]
    count: int
    seed: int = 0
    rounds: int = 1
    plans: int = 64
    worlds: int = 4
    size: str = str(Size.MEDIUM)
    data: dict[str, str] = field(default_factory=dict)
    """Folders in tau2-bench's layout, by domain; worlds are generated for others."""
    url: str = ""
    """URL of an OpenAI-compatible endpoint; empty: procedural workers."""
    model: str = ""
    concurrency: int = 8
    archive: str = ""
    """S3 folder that keeps the journals, domain by domain."""

    def to_line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"

    def request(self, domain: str, api_key: str = "") -> SynthesisRequest:
        """One domain's part."""
        settings = RunSettings(
            domain=domain,
            count=self.count,
            seed=self.seed,
            rounds=self.rounds,
            plans=self.plans,
            model=self.model,
            concurrency=self.concurrency if self.url else 1,
        )
        access = Address(
            self.url,
            self.model,
            api_key,
            max_tokens=limits.MAX_TOKENS_PER_TURN,
            timeout_s=_TIMEOUT_S,
        )
        return SynthesisRequest(
            settings,
            Path(self.folder) / file_name(domain),
            data=Path(self.data[domain]) if domain in self.data else None,
            databases=self.worlds,
            size=Size(self.size),
            access=access if self.url else None,
            resume=True,
            store=ObjectStore() if self.archive else None,
            archive=urls.join(self.archive, file_name(domain)) if self.archive else "",
        )


class SynthesisProcess:
    """A started process, as the coordinator sees it; `start` is the only way to get one.

    It dies with the coordinator.
    """

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
        """Reads until the process closes its end: with unread output it would block."""
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


def serve(order: Order, output: TextIO, api_key: str, clock: Callable[[], float]) -> int:
    """Makes everything; returns the exit code."""
    for domain in order.domains:
        try:
            state = _retrying(
                order.request(domain, api_key), _progress(domain, output, clock), clock
            )
        except Exception as error:
            if not isinstance(error, SeaError | OSError | ValueError):
                traceback.print_exc()
            _write(output, {"error": f"{domain}: {error}"})
            return 1
        # The final count, which the throttled progress may have left out.
        _write(output, {"domain": domain, "made": state.accepted})
        if state.accepted < order.count:
            _write(output, {"error": f"{domain}: {_exhausted(state, order)}", "permanent": True})
            return 1
    return 0


def _exhausted(state: RunState, order: Order) -> str:
    reasons = sum((tally.reasons for tally in state.tallies.values()), Counter[str]())
    often = "".join(f" The commonest failure: {why}" for why, _ in reasons.most_common(1))
    return (
        f"only {state.accepted} of the {order.count} tasks asked for could be made before the "
        f"plans were exhausted ({len(state.tallies)} plans in {order.rounds} rounds).{often} Ask "
        "for fewer tasks, or for more plans, rounds or worlds."
    )


def _retrying(
    request: SynthesisRequest, progress: Callable[[RunState], None], clock: Callable[[], float]
) -> RunState:
    """Waits for a predecessor that is ending, but still holds the journal."""
    deadline = clock() + _LOCK_TIMEOUT_S
    while True:
        try:
            return synthesize(request, progress)
        except JournalTakenError:
            if clock() > deadline:
                raise
            time.sleep(_EVERY_S)


def _progress(
    domain: str, output: TextIO, clock: Callable[[], float]
) -> Callable[[RunState], None]:
    last = [-_EVERY_S]

    def report(state: RunState) -> None:
        if clock() - last[0] >= _EVERY_S:
            last[0] = clock()
            _write(output, {"domain": domain, "made": state.accepted})

    return report


def _write(output: TextIO, event: dict[str, Any]) -> None:
    output.write(json.dumps(event) + "\n")
    output.flush()


def _end_with_parent() -> None:
    """The parent has ended if the pipe has: nothing is written to the folders after that."""
    # Not through `sys.stdin`: when it ends, the interpreter would wait for its lock.
    while os.read(0, 4096):
        pass
    # Not `sys.exit`: this is a thread, and the main thread may hang in a request for minutes.
    os._exit(1)


def main() -> int:
    logs.configure_pod(process="synthesis")
    order = Order(**json.loads(sys.stdin.buffer.readline()))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    return serve(order, sys.stdout, os.environ.get(SYNTHESIS_API_KEY, ""), time.monotonic)


if __name__ == "__main__":
    sys.exit(main())
