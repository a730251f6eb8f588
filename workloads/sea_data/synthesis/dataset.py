"""Writes the journal's accepted items as a data set in the published layout.

rl.jsonl                 tasks with verification function and provenance
sft.jsonl                their dialogues, one row each
databases/<domain>/...   the databases and the policy
report.json              cost and yield of every plan
"""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sea_data.formats import jsonl
from sea_data.synthesis.journal import Journal
from sea_data.synthesis.plan import Blame
from sea_data.synthesis.run_state import RunState, Tally
from sea_data.synthesis.source_database import SourceDatabase

TASKS, DIALOGUES, REPORT = "rl.jsonl", "sft.jsonl", "report.json"


def write(
    folder: Path, journal: Journal, sources: Sequence[SourceDatabase], state: RunState
) -> None:
    """Writes all files. Each appears whole or not at all, and writing again is safe."""
    for source in sources:
        for path, body in source.files.items():
            _replace(folder / path, iter([body]))
    prompt = sources[0].system_prompt
    _replace(folder / TASKS, _lines(journal, lambda event: event["task"]))
    _replace(folder / DIALOGUES, _lines(journal, lambda event: _prompted(event, prompt)))
    body = json.dumps(report(state), indent=1).encode()
    _replace(folder / REPORT, iter([body + b"\n"]))


def _lines(journal: Journal, row: Callable[[dict[str, Any]], dict[str, Any]]) -> Iterator[bytes]:
    # Replays the journal, so that repeated events yield one row, as in the run itself.
    seen = RunState()
    for event in journal.events():
        if seen.apply(event) and "task" in event:
            yield jsonl.dumps(row(event)).encode()


def _prompted(event: dict[str, Any], prompt: str) -> dict[str, Any]:
    """The dialogue's row with its system prompt, which the journal leaves out."""
    row = event["dialogue"]
    assert row["messages"][0]["role"] == "system"
    row["messages"][0]["content"] = prompt
    found: dict[str, Any] = row
    return found


def _replace(path: Path, pieces: Iterator[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # A reader sees the old file or the whole new one.
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.writelines(pieces)
    partial.replace(path)


_MAX_REASONS = 3
_GOALS_WIDTH = 44


def report(state: RunState) -> dict[str, Any]:
    """The content of `report.json`: cost and yield of the run per plan."""
    tallies = list(state.tallies.values())
    return {
        "settings": state.header,
        "accepted": state.accepted,
        "items": sum(state.items.values()),
        "tokens": sum(t.cost.tokens for t in tallies) + state.overhead.tokens,
        "seconds": round(sum(t.cost.seconds for t in tallies) + state.overhead.seconds, 3),
        "rounds": [
            {"round": number, "items": state.items[number], "accepted": state.accepted_in[number]}
            for number in sorted(state.plans)
        ],
        "plans": [_plan(tally) for tally in tallies],
    }


def _plan(tally: Tally) -> dict[str, Any]:
    plan = tally.plan
    return {
        "plan": plan.id,
        "revision": plan.revision,
        "goals": list(plan.goals),
        "complexity": plan.complexity,
        "mode": plan.mode,
        "style": plan.style,
        "items": tally.items,
        "accepted": tally.accepted,
        "yield": round(tally.yield_, 4),
        "blamedTask": tally.blamed[Blame.TASK],
        "blamedTrajectory": tally.blamed[Blame.TRAJECTORY],
        "withoutAnswer": tally.blamed[Blame.INFRASTRUCTURE],
        "tokens": tally.cost.tokens,
        "seconds": round(tally.cost.seconds, 6),
        "reasons": dict(tally.reasons.most_common(_MAX_REASONS)),
    }


def report_table(state: RunState) -> Iterator[str]:
    """Lines of the report's table for a terminal, header first."""
    yield (
        f"{'plan':<9}{'goals':<{_GOALS_WIDTH + 2}}{'mode':<8}{'style':<11}"
        f"{'items':>6}{'good':>6}{'yield':>7}{'task':>6}{'traj.':>6}{'no ans':>8}"
        f"{'tokens':>10}{'s/task':>9}"
    )
    for tally in state.tallies.values():
        yield _line(tally)


def _line(tally: Tally) -> str:
    plan = tally.plan
    goals = " + ".join(plan.goals)
    goals = goals if len(goals) <= _GOALS_WIDTH else goals[: _GOALS_WIDTH - 3] + "..."
    each = f"{tally.cost.seconds / tally.accepted:9.4f}" if tally.accepted else f"{'-':>9}"
    return (
        f"{plan.id + '.' + str(plan.revision):<9}{goals:<{_GOALS_WIDTH + 2}}{plan.mode:<8}"
        f"{plan.style:<11}{tally.items:>6}{tally.accepted:>6}{tally.yield_:>7.0%}"
        f"{tally.blamed[Blame.TASK]:>6}{tally.blamed[Blame.TRAJECTORY]:>6}"
        f"{tally.blamed[Blame.INFRASTRUCTURE]:>8}"
        f"{tally.cost.tokens:>10}{each}"
    )
