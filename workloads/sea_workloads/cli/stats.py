"""`sea data stats`: what is in dialogue and task files."""

import argparse
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from sea_workloads.cli.common import Commands, command, file_lines, say
from sea_workloads.data import lines, rl, sft
from sea_workloads.data.errors import RowError
from sea_workloads.tokens.renderer import Renderer


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "stats",
        "count rows, dialogues, turns, actions and tokens",
        "sea data stats data/shop/sft.jsonl --tokenizer models/tiny",
    )
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--tokenizer", type=Path, help="HF folder to count tokens with")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    renderer = Renderer.load(given.tokenizer) if given.tokenizer else None
    for file in given.files:
        say(file)
        counts = _dialogues(file, renderer) if _holds_dialogues(file) else _tasks(file)
        for name, value in counts:
            say(f"  {name:<28}{value}")
    return 0


def _holds_dialogues(file: str) -> bool:
    first = next(lines.objects(file_lines(file), file), (0, {}))[1]
    return not isinstance(first, RowError) and "messages" in first


def _dialogues(file: str, renderer: Renderer | None) -> Iterable[tuple[str, object]]:
    loaded = sft.load([(file, file_lines(file))], skip_bad=True)
    report, dialogues = loaded.report, loaded.dialogues
    yield "rows", report.rows
    yield "bad rows", len(report.bad)
    yield "rows of failed dialogues", report.failed
    yield "rows inside longer ones", report.prefixes
    yield "dialogues", len(dialogues)
    turns = [sum(m["role"] == "assistant" for m in d.messages) for d in dialogues]
    yield "agent turns per dialogue", _mean(turns)
    if renderer is None:
        return
    sides = {"agent": dialogues, "user": [sft.exchange(d) for d in dialogues]}
    for side, given in sides.items():
        rendered = [renderer.dialogue(d.messages) for d in given]
        yield f"tokens per dialogue, {side}", _mean([len(ids) for ids, _ in rendered])
        yield f"  longest, {side}", max((len(ids) for ids, _ in rendered), default=0)
        yield f"  written by the {side}", _mean([sum(mask) for _, mask in rendered])


def _tasks(file: str) -> Iterable[tuple[str, object]]:
    found = list(rl.read(file_lines(file), file))
    tasks = [task for task in found if not isinstance(task, RowError)]
    yield "rows", len(found)
    yield "bad rows", len(found) - len(tasks)
    yield "distinct ids", len({task.id for task in tasks})
    yield "databases", len({task.db_path for task in tasks})
    yield "actions per task", _mean([len(task.criteria.actions) for task in tasks])
    for domain, count in Counter(task.domain for task in tasks).items():
        yield f"tasks of {domain}", count
    for basis, count in Counter("+".join(t.criteria.reward_basis) for t in tasks).items():
        yield f"reward {basis}", count


def _mean(values: Sequence[int]) -> str:
    return f"{sum(values) / len(values):.1f}" if values else "-"
