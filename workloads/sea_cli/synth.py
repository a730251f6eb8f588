"""`sea synth`: makes tasks, verification functions and dialogues of a domain."""

import argparse
import os
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from sea_api import limits
from sea_api.contract import OPENAI_API_KEY
from sea_cli import fetching, options
from sea_cli.common import Commands, again, local, say
from sea_cli.options import positive, url
from sea_cli.progress import Update, gauge
from sea_data.synthesis import dataset
from sea_data.synthesis.plan import Blame
from sea_data.synthesis.run_state import RunSettings, RunState
from sea_data.synthesis.service import SynthesisRequest, synthesize
from sea_env.chat import Address
from sea_env.domains import registry
from sea_env.domains.database_generator import Size

_EXAMPLES = """\
examples:
  sea synth --domain retail --count 1000 --out data/retail-syn
  sea synth --domain retail --count 1000 --out data/retail-syn --resume
  sea synth --domain retail --data ../tau2/retail --count 1000 --seed 1 --out data/tau2-syn
  sea synth --domain retail --data ../tau2/retail --count 50 --rounds 3 --out data/retail-syn \\
      --endpoint http://localhost:8000/v1 --model Qwen3-30B
"""
INTERRUPTED = 130
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
    parser.add_argument("--out", type=local, required=True, help="folder to write")
    parser.add_argument(
        "--data",
        help=f"{fetching.FOLDER}, with db.*, user_db.* and policy.md; by default worlds are "
        "generated",
    )
    parser.add_argument("--worlds", type=positive, default=4, help="worlds to generate (default 4)")
    parser.add_argument(
        "--size",
        choices=[str(size) for size in Size],
        default="medium",
        help="size of each world (default medium)",
    )
    parser.add_argument("--plans", type=positive, default=64, help="plans (default 64)")
    parser.add_argument("--rounds", type=positive, default=1, help="rounds, K (default 1)")
    parser.add_argument(
        "--endpoint", type=url, metavar="URL", help="base URL of an OpenAI-compatible server"
    )
    parser.add_argument("--model", help=f"name of the model there; its key is in {OPENAI_API_KEY}")
    parser.add_argument(
        "--concurrency", type=positive, default=8, help="items at a time with a model (default 8)"
    )
    options.add_request_limits(parser, retries=4)
    parser.add_argument(
        "--resume", action="store_true", help="continue a run that was stopped or killed"
    )
    parser.set_defaults(run=run)


def _access(given: argparse.Namespace) -> Address | None:
    if not given.endpoint:
        return None
    return Address(
        given.endpoint,
        given.model,
        os.environ.get(OPENAI_API_KEY, ""),
        max_tokens=limits.MAX_TOKENS_PER_TURN,
        timeout_s=given.timeout,
        attempts=given.retries,
    )


def run(given: argparse.Namespace) -> int:
    if bool(given.endpoint) != bool(given.model):
        sys.stderr.write("sea: --endpoint and --model belong together: give both or neither.\n")
        return 2
    if given.data is None:
        return _synthesize(given, None)
    with fetching.folder(given.data) as data:
        return _synthesize(given, data)


def _synthesize(given: argparse.Namespace, data: Path | None) -> int:
    access = _access(given)
    settings = RunSettings(
        domain=given.domain,
        count=given.count,
        seed=given.seed,
        rounds=given.rounds,
        plans=given.plans,
        model=given.model or "",
        concurrency=given.concurrency if access else 1,
    )
    request = SynthesisRequest(
        settings, given.out, data, given.worlds, Size(given.size), access, given.resume
    )
    try:
        with gauge("tasks", given.count) as update:
            shown = _Line(update, access)
            state = synthesize(replace(request, on_retry=shown.waits), shown.look)
            update(state.accepted, _note(state))
    except KeyboardInterrupt:
        sys.stderr.write(f"sea: interrupted: what was made is kept. Go on with: {again()}\n")
        return INTERRUPTED
    for line in dataset.report_table(state):
        say(line)
    say(f"{given.out / dataset.TASKS}: {state.accepted} tasks")
    say(f"{given.out / dataset.DIALOGUES}: {state.accepted} dialogues")
    if state.accepted < given.count:
        sys.stderr.write(
            f"sea: only {state.accepted} of {given.count} tasks were made before the plans gave "
            f"out; {given.out / dataset.REPORT} says why. Ask for more plans, rounds or worlds.\n"
        )
        return 1
    return 0


class _Line:
    """Reports a few times per second, since events come by the thousand; problems at once."""

    def __init__(self, update: Update, access: Address | None) -> None:
        self._update, self._access = update, access
        self._updated_at = -_EVERY_S
        self._state = RunState()
        self._problem = ""

    def look(self, state: RunState) -> None:
        self._state = state
        now = time.monotonic()
        if now - self._updated_at >= _EVERY_S:
            self._updated_at = now
            self._update(state.accepted, self._text())

    def waits(self, problem: str) -> None:
        """Why the model is being asked again; empty once it has answered."""
        if problem != self._problem:
            self._problem = problem
            self._update(self._state.accepted, self._text())

    def _text(self) -> str:
        found = [_note(self._state)]
        if self._access is not None and (self._problem or not self._state.plans):
            found.append(f"waits for {self._access.model}, {self._access.timeout_s:g} s at most")
            found.append(self._problem)
        return "; ".join(filter(None, found))


def _note(state: RunState) -> str:
    """What the bar shows next to the count: what failed, and what it cost."""
    if not state.plans:
        return "planning"
    blamed = sum((tally.blamed for tally in state.tallies.values()), Counter[str]())
    named = {
        "failed": blamed[Blame.TASK] + blamed[Blame.TRAJECTORY],
        "without answer": blamed[Blame.INFRASTRUCTURE],
        "tokens": sum(tally.cost.tokens for tally in state.tallies.values())
        + state.overhead.tokens,
    }
    return ", ".join(f"{count} {name}" for name, count in named.items() if count)
