"""`sea replay`: a saved dialogue for reading, its tool calls made again on a fresh database."""

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from sea_cli import fetching, show
from sea_cli.common import DATA_FILE, Commands, say, store_for
from sea_data.evaluation import dialogue_files, failures
from sea_data.evaluation.playing.tasks import Folder
from sea_data.evaluation.records import EpisodeRecord
from sea_data.evaluation.rerun import Rerun, rerun
from sea_data.formats import data_files, database_files
from sea_env.domains import registry
from sea_env.domains.base import Domain, Environment
from sea_env.domains.database import Database, DatabaseError
from sea_env.episodes.conversation import open_environment
from sea_env.tasks.task import Task

_EXAMPLES = """\
examples:
  sea replay out/qwen3-shop/episodes.jsonl                         list the episodes
  sea replay out/qwen3-shop/episodes.jsonl --number 12             show the twelfth
  sea replay out/qwen3-shop/episodes.jsonl --all --data data/shop  make all calls again
  sea replay data/retail/sft.jsonl --number 1 --database data/retail/databases/retail_db.json

exit codes: 0 no call answers differently, 1 some do (or a file can't be read), 2 wrong usage.
"""


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "replay",
        help="show a saved episode and make its tool calls again",
        description="Shows a saved episode or dialogue and makes its tool calls again on a fresh "
        "database, to see whether they still answer the same. The database is the one that the "
        "episode names, that of its task in --data, or --database.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "file", metavar="FILE", help=f"episodes, dialogues, or one JSON document: {DATA_FILE}"
    )
    parser.add_argument("--number", type=int, metavar="N", help="the N-th of the file, from 1")
    parser.add_argument("--task", metavar="ID", help="only episodes of this task")
    parser.add_argument(
        "--all", action="store_true", help="replay all of them; show differences only"
    )
    parser.add_argument("--domain", default="", help="domain of dialogues that name none")
    parser.add_argument("--data", metavar="DIR", help=f"data of the tasks: {fetching.FOLDER}")
    parser.add_argument(
        "--database", metavar="FILE", help="database to use (path or s3:// address)"
    )
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    content = b"".join(data_files.pieces(given.file, store_for(given.file)))
    found = list(enumerate(dialogue_files.read(content, given.file, given.domain), start=1))
    chosen = [
        (number, record)
        for number, record in found
        if given.number in {None, number} and given.task in {None, record.task}
    ]
    if not chosen:
        say(f"{given.file}: none of its {len(found)} episodes is asked for")
        return 1
    if len(chosen) > 1 and not given.all:
        _list(chosen)
        return 0
    with ExitStack() as opened:
        data = opened.enter_context(fetching.folder(given.data)) if given.data else None
        worlds = _Worlds(opened, data, given.database)
        return _all(chosen, worlds) if given.all else _one(chosen[0][1], worlds)


def _list(chosen: Sequence[tuple[int, EpisodeRecord]]) -> None:
    for number, record in chosen:
        kind = failures.classify(record)
        outcome = "passed" if kind is None else failures.LABELS[kind].lower()
        name = show.printable(f"{record.domain} {record.task}")
        say(f"{number:>5}  {name:<36} trial {record.trial}  {record.turns:>3} turns  {outcome}")
    say(f"{len(chosen)} episodes; choose one with --number, or make all calls again with --all")


def _one(record: EpisodeRecord, worlds: "_Worlds") -> int:
    console = Console(highlight=False)
    _head(console, record)
    show.dialogue(console, record.transcript)
    try:
        steps = worlds.rerun(record)
    except DatabaseError as error:
        say(f"\nThe tool calls were not made again. {error}")
        return 0
    return _differences(console, record, steps)


def _head(console: Console, record: EpisodeRecord) -> None:
    kind = failures.classify(record)
    outcome = "passed" if kind is None else failures.LABELS[kind]
    facts = f"{record.domain}, trial {record.trial}, seed {record.seed}: {outcome}"
    show.line(console, f"{show.printable(record.task)}  ", facts, head="bold")
    if record.request:
        show.line(console, "wants  ", record.request, "italic")
    if record.error:
        show.line(console, "no verdict  ", record.error, "red")
    if record.dropped:
        show.line(console, "not trained ", record.dropped, "yellow")
    say()


def _differences(console: Console, record: EpisodeRecord, steps: Sequence[Rerun]) -> int:
    different = [step for step in steps if step.differs]
    say()
    for step in different:
        show.line(console, "differs  ", f"{step.name} {step.arguments}", "yellow", head="red")
        show.line(console, "  then   ", step.before or "")
        show.line(console, "  now    ", step.now)
    same = len(steps) - len(different)
    say(f"{same} of {len(steps)} calls answer as they did")
    return 1 if different else 0


def _all(chosen: Sequence[tuple[int, EpisodeRecord]], worlds: "_Worlds") -> int:
    calls = bad = 0
    for number, record in chosen:
        steps = worlds.rerun(record)
        calls += len(steps)
        for step in (step for step in steps if step.differs):
            bad += 1
            say(f"{number}: {record.domain} {record.task}: {step.name} {step.arguments}")
            say(f"    then {show.printable(show.shortened(step.before or '', 300))}")
            say(f"    now  {show.printable(show.shortened(step.now, 300))}")
    say(f"{len(chosen)} episodes, {calls} calls, {bad} answer differently")
    return 1 if bad else 0


@dataclass
class _Worlds:
    """Finds the database of an episode; each file is read once."""

    opened: ExitStack
    """Keeps copies of files in S3 until the end."""
    data: Path | None
    file: str | None

    def __post_init__(self) -> None:
        self._files: dict[str, Database] = {}
        self._folders: dict[str, tuple[Folder, list[Task]]] = {}

    def rerun(self, record: EpisodeRecord) -> list[Rerun]:
        """Raises DatabaseError if no database is available, and UnknownDomainError."""
        domain = registry.get(record.domain)
        return rerun(self._environment(domain, record), record.transcript)

    def _environment(self, domain: Domain, record: EpisodeRecord) -> Environment:
        """With `--data` in the task's initial state, else the bare database."""
        if self.file is None and self.data is not None:
            return self._of_task(domain, record, self.data)
        return domain.open(self._bare(domain, record))

    def _bare(self, domain: Domain, record: EpisodeRecord) -> Database:
        address = self.file or record.database or "?"
        if address not in self._files:
            self._files[address] = self._read(domain, address, record)
        return self._files[address]

    def _read(self, domain: Domain, address: str, record: EpisodeRecord) -> Database:
        path = self.opened.enter_context(fetching.database(address))
        if not path.is_file():
            raise DatabaseError(
                f"The database of {record.task} isn't here ({record.database or 'none is named'}): "
                "point --data at the data folder, or --database at the file."
            )
        return database_files.read(domain, path)

    def _of_task(self, domain: Domain, record: EpisodeRecord, data: Path) -> Environment:
        if record.domain not in self._folders:
            folder = Folder(data, domain)
            self._folders[record.domain] = folder, folder.tasks()
        folder, tasks = self._folders[record.domain]
        # Ids may repeat; then the row decides. Only its last part: folders differ between machines.
        row = record.row.rpartition("/")[2]
        named = [task for task in tasks if task.id == record.task]
        found = next((task for task in named if task.key == row), named[0] if named else None)
        if found is None:
            raise DatabaseError(
                f"The folder {data} has no task {record.task}: name another --data."
            )
        return open_environment(domain, folder.world(found).database, found)
