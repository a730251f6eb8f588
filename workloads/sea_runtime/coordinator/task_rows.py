"""Task rows as prompts: checked by `sea_data.formats.rl`, bound to the job's domains and data.

The databases that rows name are read once here, before any episode needs them.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sea_data.errors import RowError
from sea_data.formats import database_files, rl
from sea_data.object_store import ObjectNotFoundError
from sea_env.domains import initial_state, registry
from sea_env.domains.base import Domain
from sea_env.domains.database import Database, DatabaseError
from sea_env.tasks.task import Task
from sea_env.verify.verdict import UnverifiableTaskError, check_verifiable
from sea_runtime.coordinator.errors import BadRowError
from sea_runtime.store.s3 import ObjectStore


@dataclass(frozen=True)
class TaskRow:
    """One prompt. Keyed by position: published files disagree on whether `id` is unique."""

    file: str
    line: int
    domain: str
    """As `spec.domains` names it."""
    task: dict[str, Any]
    """The row with `evaluation_criteria` parsed, and the domain by that very name."""
    database: str | None
    """`s3://` address; None if the domain makes its own."""

    @property
    def key(self) -> str:
        return f"{self.file}:{self.line}"


def task_row(
    file: str, line: int, row: dict[str, Any], domains: Collection[str], databases: str | None
) -> TaskRow:
    """One row, checked.

    Raises:
        BadRowError: BadRow, BadDatabasePath or UnknownDomain.
    """
    try:
        task = rl.task(row, key=f"{file}:{line}")
        database = _database(task.db_path, databases)
    except RowError as error:
        raise row_problem(error.at(file, line)) from error
    try:
        domain = registry.resolve_listed(task.domain, domains)
    except registry.UnlistedDomainError as error:
        raise BadRowError("UnknownDomain", file, line, str(error)) from error
    return TaskRow(file, line, domain, _named(task, domain), database)


def require_verifiable(row: TaskRow, *, judged: bool) -> None:
    """Raises BadRowError NotVerifiable for a task that this job could not score an episode of."""
    try:
        check_verifiable(rl.task(row.task, row.domain, row.key), judged=judged)
    except UnverifiableTaskError as error:
        raise BadRowError("NotVerifiable", row.file, row.line, str(error)) from error


def row_problem(error: RowError) -> BadRowError:
    """The problem of the job for an error that knows its file and line."""
    reason = "BadDatabasePath" if error.field == "db_path" else "BadRow"
    field = f"{error.field} " if error.field else "the row "
    message = f"{field}{error.reason}. Correct or remove the line."
    return BadRowError(reason, error.file, error.line, message)


def _named(task: Task, domain: str) -> dict[str, Any]:
    """The row; its field `domain` is set if it used another name for the domain."""
    return dict(task.row) if task.domain == domain else {**task.row, "domain": domain}


def _database(path: str | None, databases: str | None) -> str | None:
    if path is None:
        return None
    if databases is None:
        raise RowError("db_path", f"is '{path}', but spec.data.databases is not set")
    return database_files.join_path(databases, path)


Unusable = Iterator[tuple[TaskRow, BadRowError]]
"""Rows with the reason why no episode can begin with them."""


def unusable_rows(store: ObjectStore, rows: Sequence[TaskRow]) -> Unusable:
    """Rows that no episode could begin with, each with the reason. Raises StoreError."""
    by_database: dict[tuple[str, str], list[TaskRow]] = {}
    for row in rows:
        if row.database is not None:
            by_database.setdefault((row.domain, row.database), []).append(row)
    # A fixed order: the first problem reported is the same at every check.
    for key in sorted(by_database):
        yield from _of_database(store, *key, by_database[key])


def _of_database(store: ObjectStore, name: str, url: str, rows: Sequence[TaskRow]) -> Unusable:
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


def _all(rows: Sequence[TaskRow], reason: str, message: str) -> Unusable:
    return ((row, BadRowError(reason, row.file, row.line, message)) for row in rows)


def _of_row(domain: Domain, database: Database, row: TaskRow) -> BadRowError | None:
    """Set up as an episode does it, and kept no longer than this."""
    try:
        initial_state.prepared(domain, database, rl.task(row.task, row.domain).initial_state)
    except initial_state.InitialStateError as error:
        reason = f"can't be set up: {str(error).rstrip('.')}"
        return row_problem(RowError("initial_state", reason).at(row.file, row.line))
    return None
