"""`sea data tau2`: tau2-bench's files of a domain as a job's data."""

import argparse
from pathlib import Path

from sea_cli import fetching
from sea_cli.common import Commands, command, judge_option, local, say, write_lines
from sea_data.formats.tau2_convert import convert
from sea_env.domains import registry


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "tau2",
        "convert a domain of tau2-bench to tasks, dialogues and databases of a job",
        "sea data tau2 --domain retail --data ../tau2/retail --out data/retail",
    )
    parser.add_argument("--domain", required=True, help=", ".join(registry.names()))
    parser.add_argument(
        "--data", required=True, help=f"{fetching.FOLDER}, with db.*, tasks.json and policy.md"
    )
    parser.add_argument("--out", type=local, required=True, help="folder to write")
    parser.add_argument(
        "--drop-nl-assertions",
        action="store_true",
        help="score tasks without their assertions in natural language (they need a judge model); "
        "by default such tasks are left out",
    )
    judge_option(parser, "keep such tasks as they are")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    with fetching.folder(given.data) as data:
        return _convert(given, data)


def _convert(given: argparse.Namespace, data: Path) -> int:
    domain = registry.get(given.domain)
    converted = convert(
        domain, data, drop_nl_assertions=given.drop_nl_assertions, judged=given.judge
    )
    for name, lines in converted.files.items():
        count = write_lines(given.out / name, lines)
        say(f"{given.out / name}" + (f": {count} rows" if name.endswith(".jsonl") else ""))
    if converted.refused:
        say(f"{len(converted.refused)} tasks left out, the first because: {converted.refused[0]}")
    return 0
