"""Task rows as prompts: checked by `sea_data.formats.rl`, bound to the job's domains and data."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sea_data.errors import RowError
from sea_data.formats import database_files, rl
from sea_env.domains import registry
from sea_env.tasks.task import Task
from sea_env.verify.verdict import UnverifiableTaskError, check_verifiable
from sea_runtime.coordinator.data.problems import RowProblem


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
    """`s3://` address; None where the domain makes its own."""

    @property
    def key(self) -> str:
        return f"{self.file}:{self.line}"


def task_row(
    file: str, line: int, row: dict[str, Any], domains: Collection[str], databases: str | None
) -> TaskRow:
    """One row, checked.

    Raises:
        RowProblem: BadRow, BadDatabasePath or UnknownDomain.
    """
    try:
        task = rl.task(row, key=f"{file}:{line}")
        database = _database(task.db_path, databases)
    except RowError as error:
        raise row_problem(error.at(file, line)) from error
    try:
        domain = registry.resolve_listed(task.domain, domains)
    except registry.UnlistedDomainError as error:
        raise RowProblem("UnknownDomain", file, line, str(error)) from error
    return TaskRow(file, line, domain, _named(task, domain), database)


def require_verifiable(row: TaskRow, *, judged: bool) -> None:
    """Raises RowProblem NotVerifiable for a task that no episode of this job could be scored on."""
    try:
        check_verifiable(rl.task(row.task, row.domain, row.key), judged=judged)
    except UnverifiableTaskError as error:
        raise RowProblem("NotVerifiable", row.file, row.line, str(error)) from error


def row_problem(error: RowError) -> RowProblem:
    """The problem of the job for an error that knows its file and line."""
    reason = "BadDatabasePath" if error.field == "db_path" else "BadRow"
    field = f"{error.field} " if error.field else "the row "
    message = f"{field}{error.reason}. Correct or remove the line."
    return RowProblem(reason, error.file, error.line, message)


def _named(task: Task, domain: str) -> dict[str, Any]:
    """The row, which says by its field `domain` whose it is where it used another name for it."""
    return dict(task.row) if task.domain == domain else {**task.row, "domain": domain}


def _database(path: str | None, databases: str | None) -> str | None:
    if path is None:
        return None
    if databases is None:
        raise RowError("db_path", f"is '{path}', but spec.data.databases is not set")
    return database_files.join_path(databases, path)
