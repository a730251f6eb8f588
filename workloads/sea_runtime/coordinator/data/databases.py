"""The data check's look at what task rows begin with: their databases, and what they lay over them.

Each database is read once here, before any episode needs it.
"""

from collections.abc import Iterator, Sequence

from sea_data.errors import RowError
from sea_data.formats import database_files, rl
from sea_data.object_store import ObjectNotFoundError
from sea_env.domains import initial_state, registry
from sea_env.domains.base import Domain
from sea_env.domains.database import Database, DatabaseError
from sea_runtime.coordinator.data.problems import RowProblem
from sea_runtime.coordinator.data.rows import TaskRow, row_problem
from sea_runtime.store.s3 import ObjectStore

Wrong = Iterator[tuple[TaskRow, RowProblem]]


def problems(store: ObjectStore, rows: Sequence[TaskRow]) -> Wrong:
    """Rows that no episode could begin with, each with the reason. Raises StoreError."""
    by_database: dict[tuple[str, str], list[TaskRow]] = {}
    for row in rows:
        if row.database is not None:
            by_database.setdefault((row.domain, row.database), []).append(row)
    for key in sorted(by_database):
        yield from _of_database(store, *key, by_database[key])


def _of_database(store: ObjectStore, name: str, url: str, rows: Sequence[TaskRow]) -> Wrong:
    domain = registry.get(name)
    try:
        database = database_files.fetch(domain, url, store.get)
    except ObjectNotFoundError:
        message = f"the database {url} does not exist. Upload it or correct db_path."
        yield from _all(rows, "DataNotFound", message)
    except DatabaseError as error:
        yield from _all(rows, "BadDatabase", f"{error} Correct {url}.")
    else:
        for row in rows:
            problem = _of_row(domain, database, row)
            if problem is not None:
                yield row, problem


def _all(rows: Sequence[TaskRow], reason: str, message: str) -> Wrong:
    return ((row, RowProblem(reason, row.file, row.line, message)) for row in rows)


def _of_row(domain: Domain, database: Database, row: TaskRow) -> RowProblem | None:
    """Set up as an episode does it, and kept no longer than this."""
    try:
        initial_state.prepared(domain, database, rl.task(row.task, row.domain).initial_state)
    except initial_state.InitialStateError as error:
        reason = f"can't be set up: {str(error).rstrip('.')}"
        return row_problem(RowError("initial_state", reason).at(row.file, row.line))
    return None
