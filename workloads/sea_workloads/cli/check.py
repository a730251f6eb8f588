"""`sea data check`: every broken row with file, line, field and reason."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from sea_workloads.cli.common import Commands, command, file_lines, say
from sea_workloads.data import lines, paths, rl, sft
from sea_workloads.data.errors import RowError
from sea_workloads.domains import registry
from sea_workloads.verify.verdict import UnverifiableTaskError, check_verifiable


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "check",
        "check dialogue and task files row by row",
        "sea data check data/shop/sft.jsonl data/shop/rl_train.jsonl",
    )
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--domain", default="", help="domain of task rows that name none")
    parser.add_argument(
        "--databases", type=Path, help="data root: also check that every row's database is there"
    )
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    bad = 0
    for file in given.files:
        rows = 0
        for result in problems(file, given.domain, given.databases):
            rows += 1
            if result is not None:
                bad += 1
                say(str(result))
        say(f"{file}: {rows} rows")
    say("no problem found" if not bad else f"{bad} bad rows")
    return 1 if bad else 0


def problems(
    file: str, domain: str = "", databases: Path | None = None
) -> Iterator[RowError | None]:
    """One entry per row: its error, or None."""
    for number, row in lines.objects(file_lines(file), file):
        try:
            if isinstance(row, RowError):
                raise row
            _check(row, domain, databases)
        except RowError as error:
            yield error.at(file, number)
        else:
            yield None


def _check(row: dict[str, object], domain: str, databases: Path | None) -> None:
    if "messages" in row:
        sft.dialogue(row)
        return
    task = rl.task(row, domain)
    try:
        registry.get(task.domain)
        check_verifiable(task)
    except registry.UnknownDomainError as error:
        raise RowError("user_scenario.instructions.domain", str(error)) from error
    except UnverifiableTaskError as error:
        raise RowError("evaluation_criteria.nl_assertions", str(error)) from error
    if databases is not None and task.db_path is not None:
        _check_database(databases, task.db_path)


def _check_database(root: Path, db_path: str) -> None:
    path = Path(paths.join(str(root), db_path))
    if not path.is_file():
        raise RowError("db_path", f"{str(path)!r} does not exist")
    if not path.resolve().is_relative_to(root.resolve()):
        raise RowError("db_path", f"{db_path!r} is a link out of the folder of the databases")
