"""`sea data check`: every broken row with file, line, field and reason."""

import argparse
import json
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from sea_cli import fetching
from sea_cli.common import DATA_FILE, Commands, command, judge_option, say, store_for
from sea_cli.progress import ReadAdvance, reading
from sea_data.errors import RowError
from sea_data.formats import data_files, jsonl
from sea_data.formats.inspection import Inspector
from sea_env.tokens.renderer import Renderer

_EXAMPLE = """\
sea data check data/shop/sft.jsonl data/shop/rl_train.jsonl
  sea data check rl_merge.jsonl --databases .          # also runs every expected action
  sea data check s3://bucket/tau2/sft_merge.jsonl.gz --json"""

_LIST_BEGINS = re.compile(rb"(\xef\xbb\xbf)?\s*\[\s*(\{|$)")
_LIST = (
    "is one JSON list, not one object a line. If it is a tasks.json of tau2-bench, `sea data "
    "replay --domain NAME --data FOLDER` runs its expected actions and `sea data tau2` makes task "
    "files of it (FOLDER also holds db.*)"
)


@dataclass(frozen=True)
class Finding:
    """One row: its number of the line, what is wrong with it, what is worth knowing."""

    line: int
    error: RowError | None
    notes: list[str]


def add(commands: Commands) -> None:
    parser = command(commands, "check", "check dialogue and task files row by row", _EXAMPLE)
    parser.add_argument("files", nargs="+", metavar="FILE", help=DATA_FILE)
    parser.add_argument("--domain", default="", help="domain of task rows that name none")
    parser.add_argument(
        "--databases",
        help=f"data root ({fetching.FOLDER}): also read every row's database and run its expected "
        "actions on it",
    )
    parser.add_argument(
        "--tokenizer",
        type=Path,
        metavar="MODEL",
        help="HF folder of the model to train: also refuse dialogues that its format can't hold",
    )
    judge_option(parser, "tasks with assertions in natural language are fine then")
    parser.add_argument("--json", action="store_true", help="print everything as one JSON object")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    model = Renderer.load(given.tokenizer) if given.tokenizer else None
    with _databases(given.databases) as databases:
        inspector = Inspector(given.domain, databases, judged=given.judge, model=model)
        reports = [_file(file, inspector, quiet=given.json) for file in given.files]
    bad = sum(len(report["problems"]) for report in reports)
    if given.json:
        say(json.dumps({"files": reports, "bad_rows": bad}, indent=1))
    else:
        say("no problem found" if not bad else f"{bad} bad row{'' if bad == 1 else 's'}")
    return 1 if bad else 0


def _databases(address: str | None) -> AbstractContextManager[Path | None]:
    return nullcontext(None) if address is None else fetching.folder(address)


def _file(file: str, inspector: Inspector, *, quiet: bool) -> dict[str, Any]:
    report: dict[str, Any] = {"file": file, "rows": 0, "problems": [], "notes": []}
    with reading(file) as advance:
        for finding in findings(file, inspector, advance):
            report["rows"] += 1
            _add(report, finding, file, quiet=quiet)
    if not report["rows"]:
        # A job can't begin with it either.
        finding = Finding(0, RowError("", "the file has no row", file), [])
        _add(report, finding, file, quiet=quiet)
    if not quiet:
        say(f"{file}: {report['rows']} rows")
    return report


def _add(report: dict[str, Any], finding: Finding, file: str, *, quiet: bool) -> None:
    error = finding.error
    if error is not None:
        problem = {"line": finding.line, "field": error.field, "reason": error.reason}
        report["problems"].append(problem)
        if not quiet:
            say(str(error))
    for note in finding.notes:
        report["notes"].append({"line": finding.line, "note": note})
        if not quiet:
            say(f"{file}:{finding.line}: note: {note}")


def findings(file: str, inspector: Inspector, advance: ReadAdvance) -> Iterator[Finding]:
    """One per row, in order. Raises DataFileError where the file can't be read to its end."""
    read = iter(data_files.lines(file, store_for(file), advance))
    first = list(islice(read, 1))
    if any(_LIST_BEGINS.match(line) for line in first):
        yield Finding(0, RowError("", _LIST, file), [])
        return
    for number, row in jsonl.objects(chain(first, read), file):
        try:
            if isinstance(row, RowError):
                raise row
            yield Finding(number, None, inspector.notes(row))
        except RowError as error:
            yield Finding(number, error.at(file, number), [])
