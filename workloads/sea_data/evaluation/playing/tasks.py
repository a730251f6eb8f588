"""Tasks of one domain in a local folder, each with the world that it starts from.

Two layouts: tau2-bench's (`tasks.json`, `db.*`, `policy.md`) and the published one (`*.jsonl` rows
with a `db_path` each). A world is read once and shared by its episodes.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from sea_api.v1alpha1.domains import bare, file_name
from sea_data.errors import EvaluationError, RowError
from sea_data.formats import compression, data_files, database_files, rl, tau2
from sea_env.domains import registry
from sea_env.domains.base import Domain
from sea_env.domains.database import Database, DatabaseError
from sea_env.tasks.task import Task

NAMES = (
    "rl_test.jsonl",
    "rl.jsonl",
    "rl_merge.jsonl",
    "tau2_rl_train.jsonl",
    "rl_train.jsonl",
    "tasks.jsonl",
)
"""Task files of a folder, in the order in which they are looked for; also packed."""
_DATA = (".json", ".toml", ".md")


@dataclass(frozen=True)
class World:
    """What an episode starts from."""

    database: Database
    policy: str | None
    source: str
    """The database's path or address."""


def is_data(path: str) -> bool:
    """Whether a file of a data folder may be needed to play its tasks; dialogues never are."""
    name = path.rpartition("/")[2]
    return _unpacked(name).endswith(_DATA) or _unpacked(name) in NAMES


def _unpacked(name: str) -> str:
    return name.rpartition(".")[0] if compression.is_compressed(name) else name


class Folder:
    """A data folder as seen by one domain."""

    def __init__(
        self, root: Path, domain: Domain, file: Path | None = None, address: str = ""
    ) -> None:
        """`file` names the task file where the folder has several or an unusual one; `address`
        is where the folder was copied from."""
        self._copied, self._address = root, address
        self.domain, self._file = domain, file
        self.name = registry.full_name(domain)
        self.root = root if (root / "tasks.json").is_file() else _inner(root, self.name)
        self._worlds: dict[str, World] = {}

    @property
    def is_tau2(self) -> bool:
        return self._file is None and (self.root / "tasks.json").is_file()

    def tasks(self) -> list[Task]:
        """All tasks of the domain in file order.

        Raises EvaluationError, RowError or DataFileError.
        """
        if self.is_tau2:
            return tau2.tasks(self.root, self.name)
        file = self._file or self._find()
        rows = rl.read(data_files.lines(str(file)), file.name, self.name)
        found = []
        for row in rows:
            if isinstance(row, RowError):
                raise row
            if _means(row.domain, self.name):
                found.append(_named(row, self.name))
        if not found:
            raise EvaluationError(f"The file {file} has no task of the domain {self.name}.")
        return found

    def world(self, task: Task) -> World:
        """Raises DatabaseError saying which file is missing or wrong."""
        key = task.db_path or ""
        if key not in self._worlds:
            self._worlds[key] = self._tau2() if self.is_tau2 else self._published(task)
        return self._worlds[key]

    def _tau2(self) -> World:
        database = tau2.database(self.root, self.domain)
        policy = tau2.policy(self.root) if self.domain.policy_file else None
        return World(database, policy, self._source(tau2.find(self.root, "db")))

    def _published(self, task: Task) -> World:
        path = self.database_path(task)
        database = database_files.read(self.domain, path)
        return World(database, self._policy(path), self._source(path))

    def _source(self, path: Path | None) -> str:
        if path is None or not self._address:
            return str(path)
        return f"{self._address.rstrip('/')}/{path.relative_to(self._copied)}"

    def database_path(self, task: Task) -> Path:
        """Path of the row's database in the folder; raises DatabaseError."""
        if task.db_path is None:
            raise DatabaseError(f"Task {task.key} names no database: give its row a db_path.")
        places = [self.root, self.root / "tau2_rl_database", self.root / "databases"]
        for place in places:
            path = Path(database_files.join_path(str(place), task.db_path))
            if path.is_file() and path.resolve().is_relative_to(self.root.resolve()):
                return path
        raise DatabaseError(
            f"The database {task.db_path} of task {task.key} isn't in {self.root}: point --data at "
            "the folder that its db_path is relative to."
        )

    def _policy(self, database: Path) -> str | None:
        name = self.domain.policy_file
        if name is None:
            return None
        for folder in (database.parent, database.parent.parent, self.root):
            for file in (name, "policy.md"):
                if (folder / file).is_file():
                    return data_files.text(folder / file)
        raise DatabaseError(
            f"The policy of {self.domain.name} is neither next to {database} nor in {self.root}: "
            f"put it there as {name}."
        )

    def _find(self) -> Path:
        for name in NAMES:
            for path in (self.root / f"{name}{packed}" for packed in ("", *compression.SUFFIXES)):
                if path.is_file():
                    return path
        raise EvaluationError(
            f"The folder {self.root} has neither tasks.json nor any of {', '.join(NAMES)}: name "
            "the task file with --tasks."
        )


def _inner(root: Path, name: str) -> Path:
    """The domain's folder in a folder of several domains, where it is one."""
    inner = (root / part for part in (file_name(name), bare(name)))
    return next((folder for folder in inner if folder.is_dir()), root)


def _means(said: str, name: str) -> bool:
    try:
        return registry.resolve_listed(said, [name]) == name
    except registry.UnlistedDomainError:
        return False


def _named(task: Task, name: str) -> Task:
    """The task, which from here on calls its domain by the full name."""
    if task.domain == name:
        return task
    return replace(task, domain=name, row={**task.row, "domain": name})
