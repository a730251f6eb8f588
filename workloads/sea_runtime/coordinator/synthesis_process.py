"""`python -m sea_runtime.coordinator.synthesis_process`: synthesis in a process of its own.

One JSON line on stdin says what to make (`Order`), domain by domain; progress goes to stdout as
JSON lines. It ends when its parent does, which closes stdin. A later process resumes what a killed
one has left in its folders.

Exit codes: 0 if all is made; 1 with the reason as the last line `{"error": ...}`, which also has
`"final": true` if only an edit of the stage can help.
"""

import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

from sea_api.errors import SeaError
from sea_api.v1alpha1.domains import file_name
from sea_data import urls
from sea_data.errors import DataError
from sea_data.synthesis.journal import JournalError
from sea_data.synthesis.run_state import RunSettings, RunState
from sea_data.synthesis.service import SynthesisRequest, synthesize
from sea_env.chat import Address
from sea_env.domains.database_generator import Size
from sea_runtime.store.s3 import ObjectStore

KEY_VARIABLE = "SEA_SYNTHESIS_API_KEY"
_PROGRESS_SECONDS = 0.5
_LOCK_TIMEOUT_SECONDS = 20.0
_MAX_TOKENS = 8192
_TIMEOUT_SECONDS = 300.0


class PlansExhaustedError(DataError):
    """All rounds are over and too few tasks were accepted: the same settings give the same end."""


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
    """Folders in tau2-bench's layout, by domain; other domains get generated databases."""
    url: str = ""
    """Of an OpenAI-compatible endpoint; empty: the procedural backend."""
    model: str = ""
    concurrency: int = 8
    archive: str = ""
    """S3 folder for the journals of all domains."""

    def to_line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"

    def request(self, domain: str, api_key: str = "") -> SynthesisRequest:
        """The request for one domain."""
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
            self.url, self.model, api_key, max_tokens=_MAX_TOKENS, timeout_s=_TIMEOUT_SECONDS
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


def serve(order: Order, said: TextIO, api_key: str, clock: Callable[[], float]) -> int:
    """Makes everything; returns the exit code."""
    for domain in order.domains:
        try:
            request = order.request(domain, api_key)
            state = _once_unlocked(request, _reporter(domain, said, clock), clock)
            _say(said, {"domain": domain, "made": state.accepted})
            if state.accepted < order.count:
                raise _exhausted(state, order)
        except PlansExhaustedError as error:
            _say(said, {"error": f"{domain}: {error}", "final": True})
            return 1
        # Not final, even if permanent: databases, packages and endpoints may be corrected without
        # an edit of the stage, so the coordinator tries again.
        except (SeaError, OSError) as error:
            _say(said, {"error": f"{domain}: {error}"})
            return 1
    return 0


def _exhausted(state: RunState, order: Order) -> PlansExhaustedError:
    reasons = sum((tally.reasons for tally in state.tallies.values()), Counter[str]())
    often = "".join(f" The commonest failure: {why}" for why, _ in reasons.most_common(1))
    return PlansExhaustedError(
        f"only {state.accepted} of the {order.count} tasks asked for could be made before the "
        f"plans gave out ({len(state.tallies)} plans in {order.rounds} rounds).{often} Ask for "
        "fewer tasks, or for more plans, rounds or worlds."
    )


def _once_unlocked(
    request: SynthesisRequest, progress: Callable[[RunState], None], clock: Callable[[], float]
) -> RunState:
    """Waits for a stopped predecessor that still holds the journal."""
    deadline = clock() + _LOCK_TIMEOUT_SECONDS
    while True:
        try:
            return synthesize(request, progress)
        except JournalError as error:
            if error.permanent or clock() > deadline:
                raise
            time.sleep(_PROGRESS_SECONDS)


def _reporter(domain: str, said: TextIO, clock: Callable[[], float]) -> Callable[[RunState], None]:
    last = [-_PROGRESS_SECONDS]

    def tell(state: RunState) -> None:
        if clock() - last[0] >= _PROGRESS_SECONDS:
            last[0] = clock()
            _say(said, {"domain": domain, "made": state.accepted})

    return tell


def _say(said: TextIO, event: dict[str, Any]) -> None:
    said.write(json.dumps(event) + "\n")
    said.flush()


def _end_with_parent() -> None:
    """Exits when the pipe closes: nothing is written to the folders after the parent's end."""
    # Not through `sys.stdin`: at exit, the interpreter would wait for its lock.
    while os.read(0, 4096):
        pass
    os._exit(1)


def main() -> int:
    order = Order(**json.loads(sys.stdin.buffer.readline()))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    return serve(order, sys.stdout, os.environ.get(KEY_VARIABLE, ""), time.monotonic)


if __name__ == "__main__":
    sys.exit(main())
