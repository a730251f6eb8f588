"""Reads a folder of tau2-bench's domain data: `db.*`, `user_db.*`, `tasks.json`, `policy.md`."""

from pathlib import Path

from sea_data.errors import RowError
from sea_data.formats import data_files, rl
from sea_env.domains.base import Domain
from sea_env.domains.database import Database, DatabaseError
from sea_env.tasks.task import Task
from sea_env.tokens import plain_json

_SUFFIXES = (".json", ".toml")


def find(folder: Path, stem: str) -> Path | None:
    """The folder's `stem.json` or `stem.toml`, or None."""
    return next((p for s in _SUFFIXES if (p := folder / f"{stem}{s}").is_file()), None)


def database(folder: Path, domain: Domain) -> Database:
    """The databases of agent and user; raises DatabaseError naming the missing or wrong file."""
    path = find(folder, "db")
    if path is None:
        raise DatabaseError(
            f"The folder {folder} has no db.json or db.toml: point --data at a domain's folder."
        )
    user = find(folder, "user_db")
    return domain.parse(path.read_bytes(), path.name, user.read_bytes() if user else None)


def tasks(folder: Path, domain: str) -> list[Task]:
    """The tasks of `tasks.json`; raises RowError naming the task's number."""
    path = folder / "tasks.json"
    try:
        rows = plain_json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise RowError("", f"the folder {folder} has no tasks.json") from error
    except ValueError as error:
        raise RowError("", f"isn't valid JSON: {error}", str(path), 1) from error
    if not isinstance(rows, list):
        raise RowError("", "must be a JSON list of tasks", str(path), 1)
    found = []
    for number, row in enumerate(rows, start=1):
        try:
            if not isinstance(row, dict):
                raise RowError("", "must be an object")
            found.append(rl.task({**row, "domain": domain}, key=f"tasks.json#{number}"))
        except RowError as error:
            raise RowError(f"task {number}: {error.field}", error.reason, str(path), 0) from error
    return found


def policy(folder: Path) -> str:
    """The agent's policy: `policy.md`, or telecom's `main_policy.md`. Raises RowError without one.

    Telecom's technical support manual, if the folder has it, is part of the policy.
    """
    for name in ("policy.md", "main_policy.md"):
        if (folder / name).is_file():
            text = data_files.text(folder / name)
            manual = folder / "tech_support_manual.md"
            return _with_manual(text, data_files.text(manual)) if manual.is_file() else text
    raise RowError("", f"the folder {folder} has no policy.md")


def _with_manual(policy: str, manual: str) -> str:
    """Both as tau2-bench shows them to the agent."""
    return (
        f"<main_policy>\n{policy}\n</main_policy>\n"
        f"<tech_support_policy>\n{manual}\n</tech_support_policy>"
    )
