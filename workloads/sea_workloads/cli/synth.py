"""`sea synth`: makes tasks, verification functions and dialogues of a domain."""

import argparse
import os
import sys
import time
from pathlib import Path

from sea_workloads.chat.endpoint import Address
from sea_workloads.cli.common import Commands, again, say
from sea_workloads.cli.endpoints import positive, url
from sea_workloads.domains import registry
from sea_workloads.domains.worlds import Size
from sea_workloads.synthesis import output, report
from sea_workloads.synthesis.service import Request, synthesise
from sea_workloads.synthesis.settings import Settings
from sea_workloads.synthesis.state import State

_EXAMPLES = """\
examples:
  sea synth --domain retail --count 1000 --out data/retail-syn
  sea synth --domain retail --count 1000 --out data/retail-syn --resume
  sea synth --domain retail --data ../tau2/retail --count 1000 --seed 1 --out data/tau2-syn
  sea synth --domain retail --data ../tau2/retail --count 50 --rounds 3 --out data/retail-syn \\
      --endpoint http://localhost:8000/v1 --model Qwen3-30B
"""
INTERRUPTED = 130
_MOST_TOKENS = 8192
_TIMEOUT_S = 300.0
_BAR = 24
_EVERY_S = 0.2


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "synth",
        help="make tasks with verification functions and dialogues",
        description="Makes verified tasks and dialogues in the published layout: by procedural "
        "workers, or by a model's agents behind an OpenAI-compatible endpoint.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--domain", required=True, help=", ".join(registry.names()))
    parser.add_argument("--count", type=positive, default=100, help="tasks to make (default 100)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same rows (default 0)")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--data", type=Path, help="folder of db.*, user_db.* and policy.md; else worlds are made"
    )
    parser.add_argument("--worlds", type=positive, default=4, help="worlds to make (default 4)")
    parser.add_argument(
        "--size", choices=[str(size) for size in Size], default="medium", help="of each world"
    )
    parser.add_argument("--plans", type=positive, default=64, help="plans (default 64)")
    parser.add_argument("--rounds", type=positive, default=1, help="rounds, K (default 1)")
    parser.add_argument(
        "--endpoint", type=url, metavar="URL", help="base URL of an OpenAI-compatible server"
    )
    parser.add_argument("--model", help="name of the model there; its key is in OPENAI_API_KEY")
    parser.add_argument(
        "--concurrency", type=positive, default=8, help="items at a time with a model (default 8)"
    )
    parser.add_argument("--resume", action="store_true", help="go on where a killed run stopped")
    parser.set_defaults(run=run)


def _access(given: argparse.Namespace) -> Address | None:
    if not given.endpoint:
        return None
    return Address(
        given.endpoint,
        given.model,
        os.environ.get("OPENAI_API_KEY", ""),
        max_tokens=_MOST_TOKENS,
        timeout_s=_TIMEOUT_S,
    )


def run(given: argparse.Namespace) -> int:
    if bool(given.endpoint) != bool(given.model):
        sys.stderr.write("sea: --endpoint and --model belong together: give both or neither.\n")
        return 2
    access = _access(given)
    settings = Settings(
        domain=given.domain,
        count=given.count,
        seed=given.seed,
        rounds=given.rounds,
        plans=given.plans,
        model=given.model or "",
        concurrency=given.concurrency if access else 1,
    )
    request = Request(
        settings, given.out, given.data, given.worlds, Size(given.size), access, given.resume
    )
    bar = _Bar(given.count)
    try:
        state = synthesise(request, bar.draw)
    except KeyboardInterrupt:
        bar.end()
        sys.stderr.write(f"sea: interrupted: what was made is kept. Go on with: {again()}\n")
        return INTERRUPTED
    finally:
        bar.end()
    for line in report.table(state):
        say(line)
    say(f"{given.out / output.TASKS}: {state.accepted} tasks")
    say(f"{given.out / output.DIALOGUES}: {state.accepted} dialogues")
    if state.accepted < given.count:
        sys.stderr.write(
            f"sea: only {state.accepted} of {given.count} tasks were made before the plans gave "
            f"out; {given.out / output.REPORT} says why. Ask for more plans, rounds or worlds.\n"
        )
        return 1
    return 0


class _Bar:
    """A line on standard error that is drawn anew a few times a second."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._started = time.monotonic()
        self._drawn: float | None = None

    def draw(self, state: State) -> None:
        now, done = time.monotonic(), state.accepted
        if self._drawn is not None and now - self._drawn < _EVERY_S and done < self._count:
            return
        self._drawn = now
        full = _BAR * done // self._count
        rate = done / max(now - self._started, 1e-9)
        items = sum(state.items.values())
        sys.stderr.write(
            f"\r[{'#' * full}{'.' * (_BAR - full)}] {done}/{self._count} tasks, {items} items, "
            f"{rate:.0f}/s "
        )
        sys.stderr.flush()

    def end(self) -> None:
        """What is said next begins a line of its own."""
        if self._drawn is not None:
            self._drawn = None
            sys.stderr.write("\n")
