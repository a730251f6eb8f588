"""The live picture of a running job in the terminal, drawn from nothing but its status."""

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

BARS = "▁▂▃▄▅▆▇█"
MARKS = {"done": ("●", "green"), "now": ("◐", "cyan"), "later": ("○", "dim")}


def render(job: dict[str, Any], rewards: Sequence[float], elapsed: float) -> RenderableType:
    """One frame: stages on top, the running step, then weights, pods and speed."""
    status = job.get("status", {})
    body = [_stages(job), Text(""), _step(status), _facts(status, rewards)]
    if complaint := _complaint(status):
        body += [Text(""), Text(complaint, style="red")]
    title = f"seatrainingjob/{job['metadata']['name']}"
    return Panel(Group(*body), title=title, subtitle=clock(elapsed), padding=(1, 2))


def line(job: dict[str, Any], elapsed: float) -> str:
    """The same in one line, for logs."""
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
        _complaint(status),
    ]
    return "  ".join(part for part in parts if part)


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """Values in 0..1 as a row of bars, the newest `width` of them."""
    last = values[-width:]
    return "".join(BARS[min(len(BARS) - 1, max(0, int(v * len(BARS))))] for v in last)


def clock(seconds: float | None) -> str:
    """`m:ss`, or `-` where nothing is known."""
    if seconds is None:
        return "-"
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def speeds(status: dict[str, Any]) -> str:
    """`generated/trained` tokens a second."""
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


def _complaint(status: dict[str, Any]) -> str:
    """What a person has to mend, empty where nothing."""
    for condition in status.get("conditions", []):
        if condition["type"] == "Stalled" and condition["status"] == "True":
            return f"{condition['reason']}: {condition['message']}"
    return ""


def _condition(status: dict[str, Any], kind: str) -> str | None:
    for condition in status.get("conditions", []):
        if condition["type"] == kind:
            return str(condition["status"])
    return None
