"""`sea data fix`: writes a dialogue file again with what can be repaired without guessing."""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from sea_cli.common import DATA_FILE, Commands, command, local, say, store_for, write_lines
from sea_cli.progress import reading
from sea_data.errors import RowError
from sea_data.formats import data_files, jsonl, repair
from sea_data.formats.inspection import Inspector
from sea_env.domains import registry
from sea_env.tokens import tool_prompt

_EXAMPLE = """\
sea data fix from_datasets.jsonl --out fixed.jsonl
  sea data fix s3://bucket/sft.jsonl.gz --out sft.jsonl --domain retail"""


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "fix",
        "repair dialogue rows where only one meaning is possible, and say what was done",
        _EXAMPLE,
    )
    parser.add_argument("file", metavar="FILE", help=DATA_FILE)
    parser.add_argument("--out", type=local, required=True, help="file to write")
    parser.add_argument(
        "--domain", default="", help="whose tools the calls have, if the rows' prompts list none"
    )
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    done: Counter[str] = Counter()
    broken: list[RowError] = []
    tools = _tools(given.domain)
    with reading(given.file) as advance:
        lines = data_files.lines(given.file, store_for(given.file), advance)
        rows = write_lines(given.out, _repaired(lines, given, tools, done, broken))
    if not rows and not broken:
        broken.append(RowError("", "the file has no row", given.file))  # as `sea data check` says
    for error in broken:
        say(str(error))
    say(f"{given.out}: {rows} rows; {'; '.join(repair.sentences(done)) or 'nothing to repair'}")
    if broken and rows:
        say(f"{len(broken)} rows are still bad: correct them by hand")
    return 1 if broken else 0


def _tools(domain: str) -> repair.Tools:
    if not domain:
        return {}
    return tool_prompt.parameters([tool.schema() for tool in registry.get(domain).tools])


def _repaired(
    lines: Any,
    given: argparse.Namespace,
    tools: repair.Tools,
    done: Counter[str],
    broken: list[RowError],
) -> Iterator[str]:
    """Each row as a line; a row that can't be read is left out and reported.

    One that stays bad is written with what could be repaired, and reported too.
    """
    inspector = Inspector(given.domain, judged=True)  # whether there is a judge isn't in the row
    for number, row in jsonl.objects(lines, given.file):
        if isinstance(row, RowError):
            broken.append(row.at(given.file, number))
            continue
        fixed, made = repair.repair(row, tools)
        done.update(made)
        try:
            inspector.notes(fixed)
        except RowError as error:
            broken.append(error.at(given.file, number))
        yield json.dumps(fixed, ensure_ascii=False) + "\n"
