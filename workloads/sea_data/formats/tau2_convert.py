"""tau2-bench's files of one domain -> the published layout, ready to be uploaded for a job.

rl.jsonl     tasks      databases/<domain>_db.json|toml, databases/<domain>_user_db.json|toml
sft.jsonl    dialogues  databases/<domain>_policy.md
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sea_api.v1alpha1.domains import bare
from sea_data.formats import rows, tau2
from sea_data.formats.tau2_dialogues import play, without_judge
from sea_env.domains.base import Domain
from sea_env.domains.database import Database
from sea_env.domains.registry import UnknownDomainError
from sea_env.domains.tau2_plugin import PREFIX
from sea_env.tasks.task import Task
from sea_env.verify.verdict import UnverifiableTaskError, check_verifiable


@dataclass(frozen=True)
class Converted:
    """`files` maps relative paths to their lines; `refused` are tasks that need a judge."""

    files: dict[str, Iterator[str]]
    refused: list[UnverifiableTaskError]


def convert(
    domain: Domain, folder: Path, *, drop_nl_assertions: bool, judged: bool = False
) -> Converted:
    """Reads the folder at once; lines are made as they are consumed. `judged`: the rows are for
    who has a judge model.

    Raises DatabaseError or RowError saying what is missing or wrong in the folder.
    """
    if domain.policy_file is None:
        raise UnknownDomainError(
            f"The rows that are made for {bare(domain.name)} serve {domain.name} too: name that."
            if domain.name.startswith(PREFIX)
            else f"tau2-bench has no domain {domain.name}: use `sea data shop`."
        )
    database = tau2.database(folder, domain)
    source = tau2.find(folder, "db")
    assert source is not None, "tau2.database has read it"
    db_path = f"databases/{domain.name}_{source.name}"
    policy = tau2.policy(folder)
    user = tau2.find(folder, "user_db") if domain.user_tools else None
    kept, refused = _split(tau2.tasks(folder, domain.name), drop_nl_assertions, judged)
    files = {
        "rl.jsonl": (rows.dumps(_row(task, db_path)) for task in kept),
        "sft.jsonl": (rows.dumps(_dialogue(domain, t, database, policy)) for t in kept),
        db_path: iter([source.read_text(encoding="utf-8")]),
        f"databases/{domain.policy_file}": iter([policy]),
    }
    if user is not None:
        name = f"databases/{domain.name}_{user.name}"
        files[name] = iter([user.read_text(encoding="utf-8")])
    return Converted(files, refused)


def _split(
    tasks: list[Task], drop_nl_assertions: bool, judged: bool
) -> tuple[list[Task], list[UnverifiableTaskError]]:
    kept: list[Task] = []
    refused: list[UnverifiableTaskError] = []
    for task in tasks:
        found = without_judge(task) if drop_nl_assertions else task
        try:
            check_verifiable(found, judged=judged)
            kept.append(found)
        except UnverifiableTaskError as error:
            refused.append(error)
    return kept, refused


def _identity(task: Task) -> str:
    return task.id if task.id.startswith(f"{task.domain}_") else f"{task.domain}_{task.id}"


def _row(task: Task, db_path: str) -> dict[str, Any]:
    criteria = dict(task.row["evaluation_criteria"])
    criteria["reward_basis"] = list(task.criteria.reward_basis)
    if not task.criteria.nl_assertions:
        criteria["nl_assertions"] = None
    purpose = (task.row.get("description") or {}).get("purpose") or ""
    row = rows.task_row(_identity(task), purpose, _scenario(task), criteria, db_path)
    if task.initial_state:
        row["initial_state"] = dict(task.initial_state)
    if task.row.get("user_tools"):
        row["user_tools"] = task.row["user_tools"]
    return row


def _scenario(task: Task) -> dict[str, Any]:
    """tau2's scenario, its domain named even where the instructions are plain text."""
    return {**task.scenario, "instructions": {"domain": task.domain, **task.instructions}}


def _dialogue(domain: Domain, task: Task, database: Database, policy: str) -> dict[str, Any]:
    messages, reward = play(domain, task, database, policy)
    identity = f"{_identity(task)}_sft"
    tools = task.row.get("user_tools") or None
    return rows.dialogue_row(identity, messages, _scenario(task), reward, tools)
