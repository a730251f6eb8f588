"""Follows a job until it is Complete, and draws it in the terminal from its status alone."""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sea_devcluster.demo.kubectl import retry_outages
from sea_devcluster.errors import DemoError

POLL_SECONDS = 1.0
LINE_SECONDS = 10.0
OPERATOR_SECONDS = 600.0
"""Long enough for an operator to write a first status, even if its image must be pulled."""
ROUTINE = frozenset({"PodsNotReady", "CoordinatorBehind", "Draining"})
"""Reasons of a job that is on its way and meets no problem."""
BARS = "▁▂▃▄▅▆▇█"
MARKS = {"done": ("●", "green"), "now": ("◐", "cyan"), "later": ("○", "dim")}


@dataclass
class Observation:
    """What was observed while the job ran."""

    job: dict[str, Any] = field(default_factory=dict)
    rewards: list[float] = field(default_factory=list)
    ready_seconds: float | None = None
    """Seconds from the start of the watch until all pods were Ready; None if they never were."""


def follow(
    fetch: Callable[[], dict[str, Any]],
    console: Console,
    *,
    limit_seconds: float,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> Observation:
    """Polls the job until it is Complete, and shows it: a live view on a terminal, else lines.

    Args:
        fetch: Reads the job.
        console: Where to.
        limit_seconds: Give up after this.
        clock: Monotonic seconds.
        pause: Sleeps.

    Raises:
        DemoError: The job failed or was deleted, no operator reconciles it, it takes longer than
            `limit_seconds`, or the API server stays away.
    """
    seen, start, last_line = Observation(), clock(), -LINE_SECONDS
    read = retry_outages(fetch, clock, pause)
    live = Live(console=console, refresh_per_second=4) if console.is_terminal else None
    with live or nullcontext():
        while True:
            elapsed = clock() - start
            seen.job = read()
            note(seen, elapsed)
            if live is not None:
                live.update(render(seen.job, seen.rewards, elapsed))
            elif elapsed - last_line >= LINE_SECONDS:
                text = line(seen.job, elapsed)
                console.print(text, highlight=False, markup=False, soft_wrap=True)
                last_line = elapsed
            if over(seen.job):
                return seen
            if elapsed > OPERATOR_SECONDS and not seen.job.get("status", {}).get("conditions"):
                raise DemoError(
                    f"No operator has reconciled the job for {OPERATOR_SECONDS / 60:.0f} minutes;"
                    " look at its pod (`kubectl -n sea-system get pods`) and at its log."
                )
            if elapsed > limit_seconds:
                raise DemoError(f"The job was not complete after {limit_seconds / 60:.0f} minutes.")
            pause(POLL_SECONDS)


def note(seen: Observation, elapsed: float) -> None:
    """Records a new reward and the moment of readiness."""
    status = seen.job.get("status", {})
    reward = status.get("reward")
    if reward is not None and (not seen.rewards or seen.rewards[-1] != reward):
        seen.rewards.append(reward)
    roles = [role for role in (status.get("roles") or {}).values() if role]
    all_ready = bool(roles) and all(r["desired"] == r["ready"] > 0 for r in roles)
    if seen.ready_seconds is None and all_ready:
        seen.ready_seconds = elapsed


def over(job: dict[str, Any]) -> bool:
    """True when the job is Complete; DemoError when it Failed."""
    for condition in job.get("status", {}).get("conditions", []):
        if condition["type"] == "Failed" and condition["status"] == "True":
            raise DemoError(f"The job failed. {condition['reason']}: {condition['message']}")
        if condition["type"] == "Complete" and condition["status"] == "True":
            return True
    return False


def render(job: dict[str, Any], rewards: Sequence[float], elapsed: float) -> RenderableType:
    """One frame: stages, the current step, then reward, weights, speed and pods."""
    status = job.get("status", {})
    body = [_stages(job), Text(""), _step(status), _facts(status, rewards)]
    if stall := _stall(status):
        body += [Text(""), Text(stall, style="red")]
    title = f"seatrainingjob/{job['metadata']['name']}"
    return Panel(Group(*body), title=title, subtitle=clock(elapsed), padding=(1, 2))


def line(job: dict[str, Any], elapsed: float) -> str:
    """One line with the same content, for logs."""
    status = job.get("status", {})
    parts = [
        clock(elapsed),
        f"stage {status.get('stage') or '-'}",
        f"step {status.get('progress') or '-'}",
        f"reward {number(status.get('reward'))}",
        f"weights v{(status.get('weights') or {}).get('published', 0)}",
        f"pods {pods(status)}",
        f"tokens/s {speeds(status)}",
        f"remaining {clock(status.get('remainingSeconds'))}",
        _stall(status),
    ]
    return "  ".join(part for part in parts if part)


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """The last `width` values, each in 0..1, as a row of bars."""
    last = values[-width:]
    return "".join(BARS[min(len(BARS) - 1, max(0, int(v * len(BARS))))] for v in last)


def clock(seconds: float | None) -> str:
    """`m:ss`, or `-` for an unknown time."""
    if seconds is None:
        return "-"
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def speeds(status: dict[str, Any]) -> str:
    """`generated/trained` tokens per second."""
    throughput = status.get("throughput") or {}
    return f"{throughput.get('generated', 0):.0f}/{throughput.get('trained', 0):.0f}"


def pods(status: dict[str, Any]) -> str:
    """`ready/desired` over all roles."""
    roles = [role for role in (status.get("roles") or {}).values() if role]
    return f"{sum(r['ready'] for r in roles)}/{sum(r['desired'] for r in roles)}"


def _stages(job: dict[str, Any]) -> Text:
    names = [stage["name"] for stage in job["spec"]["stages"]]
    status = job.get("status", {})
    current = status.get("stage")
    position = names.index(current) if current in names else -1
    complete = _condition(status, "Complete") == "True"
    text = Text()
    for index, name in enumerate(names):
        state = "done" if complete or index < position else "now" if index == position else "later"
        mark, style = MARKS[state]
        text.append(f"{mark} {name}   ", style=style)
    return text


def _step(status: dict[str, Any]) -> RenderableType:
    step, total = status.get("step") or 0, status.get("totalSteps") or 0
    grid = Table.grid(padding=(0, 2))
    remaining = clock(status.get("remainingSeconds"))
    bar = ProgressBar(total=max(total, 1), completed=min(step, max(total, 1)), width=40)
    grid.add_row(Text(f"{status.get('progress') or '-':>9}"), bar, Text(f"remaining {remaining}"))
    return grid


def _facts(status: dict[str, Any], rewards: Sequence[float]) -> Table:
    weights = status.get("weights") or {}
    grid = Table.grid(padding=(0, 2))
    grid.add_row("reward", f"{number(status.get('reward'))}  {sparkline(rewards)}")
    published, adopted = weights.get("published", 0), weights.get("adoptedMin", 0)
    grid.add_row("weights", f"v{published} published, v{adopted} adopted")
    grid.add_row("tokens/s", f"{speeds(status)} (generated/trained)")
    grid.add_row("pods", f"{pods(status)} ready")
    for row in status.get("evaluation", []):
        if row["domain"] == "average":
            grid.add_row(
                row["stage"], f"pass^1 {row['passHat1']:.1f} % of {row['episodes']} episodes"
            )
    return grid


def _stall(status: dict[str, Any]) -> str:
    """Reason and message of a job that is stalled or meets a problem; empty if all is well."""
    for condition in status.get("conditions", []):
        meets = condition["type"] in ("Stalled", "Reconciling") and condition["status"] == "True"
        if meets and condition["reason"] not in ROUTINE:
            return f"{condition['reason']}: {condition['message']}"
    return ""


def _condition(status: dict[str, Any], kind: str) -> str | None:
    for condition in status.get("conditions", []):
        if condition["type"] == kind:
            return str(condition["status"])
    return None
