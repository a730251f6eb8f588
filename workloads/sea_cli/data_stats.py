"""`sea data stats`: what is in dialogue and task files, and what a stage would train on."""

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sea_api import limits
from sea_cli.common import DATA_FILE, Commands, command, say, store_for
from sea_cli.options import positive
from sea_cli.progress import reading
from sea_data.errors import RowError
from sea_data.formats import data_files, rl, sequences, sft
from sea_data.formats.dialogue import Dialogue
from sea_data.formats.jsonl import RowFile
from sea_data.formats.perspective import agent_side, exchange
from sea_env.tokens.renderer import Renderer

_EXAMPLE = """\
sea data stats data/shop/sft.jsonl --tokenizer models/tiny --context-length 512
  sea data stats sft_merge.jsonl.gz rl_merge.jsonl --json"""
_TELLING = frozenset({"messages", "evaluation_criteria", "user_scenario"})
_MAX_NAMED = 20
_SIDES: Mapping[str, sequences.Side] = {"agent": agent_side, "user": exchange}


def add(commands: Commands) -> None:
    parser = command(
        commands, "stats", "count rows, dialogues, turns, actions and tokens", _EXAMPLE
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help=DATA_FILE)
    parser.add_argument("--tokenizer", type=Path, help="HF folder to count tokens with")
    parser.add_argument(
        "--context-length",
        type=positive,
        default=limits.CONTEXT_LENGTH,
        metavar="N",
        help="tokens (default %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print everything as one JSON object")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    renderer = Renderer.load(given.tokenizer) if given.tokenizer else None
    found = {file: _counts(file, renderer, given.context_length) for file in given.files}
    if given.json:
        say(json.dumps(found, indent=1))
    else:
        _print(found)
    # A file with some bad rows has been counted; of one with nothing else there is nothing to say.
    useless = [file for file, counts in found.items() if counts["rows"] == counts["bad rows"]]
    for file in useless:
        sys.stderr.write(f"sea: {file} has no usable row: `sea data check {file}` says why.\n")
    return 1 if useless else 0


def _print(found: Mapping[str, Mapping[str, Any]]) -> None:
    for file, counts in found.items():
        say(file)
        for name, value in counts.items():
            shown = f"{value:.1f}" if isinstance(value, float) else value
            say(f"  {name:<36}{'-' if shown is None else shown}")


def _counts(file: str, renderer: Renderer | None, context: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="sea-stats-") as folder:
        path = data_files.local(file, Path(folder), store_for(file))
        with RowFile.open(path, file) as rows:
            if _holds_dialogues(rows):
                return _dialogues(rows, renderer, context)
            return _tasks(rows)


def _holds_dialogues(rows: RowFile) -> bool:
    """By the first row that is a dialogue or a task; the rows before it may be anything."""
    good = (row for _, row in rows.rows() if not isinstance(row, RowError))
    return "messages" in next((row for row in good if _TELLING & row.keys()), {})


def _dialogues(rows: RowFile, renderer: Renderer | None, context: int) -> dict[str, Any]:
    with reading(f"{rows.name}: rows", unit_bytes=False) as advance:
        plan = sft.select([rows], skip_bad=True, progress=advance)
    counts: dict[str, Any] = {
        "rows": plan.counts.rows,
        "bad rows": len(plan.counts.bad),
        "rows of failed dialogues": plan.counts.failed,
        "rows inside longer ones": plan.counts.prefixes,
        "dialogues": len(plan),
    }
    turns = 0
    for one in _with_bar(plan, "turns"):
        turns += sum(message["role"] == "assistant" for message in one.messages)
    counts["agent turns per dialogue"] = _mean(turns, len(plan))
    for side in _SIDES if renderer is not None else ():
        assert renderer is not None
        counts |= _tokens(plan, side, renderer, context)
    return counts


def _tokens(plan: sft.Selection, side: str, renderer: Renderer, context: int) -> dict[str, Any]:
    dialogues, tokens = _with_bar(plan, f"tokens, {side}"), sequences.TokenCounts()
    encoded = sequences.encode(
        dialogues, renderer, context, tokens, side=_SIDES[side], skip_bad=True
    )
    lengths = [len(one.ids) for one in encoded]
    _name(tokens.unreadable, side)
    return {
        f"{side}: refused dialogues": len(tokens.unreadable),
        f"{side}: answer tokens": tokens.answer,
        f"{side}: context tokens": tokens.context,
        f"{side}: tokens over the length": tokens.over_length,
        f"{side}:   of these, answer tokens": tokens.over_length_answers,
        f"{side}: dialogues without an answer": tokens.without_answer,
        f"{side}: tokens per dialogue": _mean(sum(lengths), len(lengths)),
        f"{side}: longest dialogue": max(lengths, default=0),
        f"{side}: packed into sequences": len(sequences.pack(lengths, context)),
    }


def _name(refused: Sequence[RowError], side: str) -> None:
    """A stage with `onBadRow: Fail` ends at the first of them."""
    for error in refused[:_MAX_NAMED]:
        sys.stderr.write(f"sea: for the {side}: {error}\n")
    if len(refused) > _MAX_NAMED:
        sys.stderr.write(f"sea: for the {side}: {len(refused) - _MAX_NAMED} more are refused\n")


def _with_bar(plan: sft.Selection, label: str) -> Iterable[Dialogue]:
    with reading(f"{plan.files[0].name}: {label}", unit_bytes=False) as advance:
        for number, one in enumerate(plan.dialogues(), start=1):
            yield one
            advance(number, len(plan))


def _tasks(rows: RowFile) -> dict[str, Any]:
    raw = (rows.raw(position) for position in range(len(rows)))
    found = list(rl.read(raw, rows.name))
    tasks = [task for task in found if not isinstance(task, RowError)]
    counts: dict[str, Any] = {
        "rows": len(found),
        "bad rows": len(found) - len(tasks),
        "distinct ids": len({task.id for task in tasks}),
        "databases": len({task.db_path for task in tasks}),
        "actions per task": _mean(sum(len(t.criteria.actions) for t in tasks), len(tasks)),
    }
    for domain, count in Counter(task.domain for task in tasks).items():
        counts[f"tasks of {domain}"] = count
    for basis, count in Counter("+".join(t.criteria.reward_basis) for t in tasks).items():
        counts[f"reward {basis}"] = count
    return counts


def _mean(total: int, count: int) -> float | None:
    return total / count if count else None
