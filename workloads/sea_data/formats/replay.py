"""What a task's expected actions do to a fresh environment, in tau2-bench's own layout."""

from typing import Any

from sea_env.domains.base import Domain
from sea_env.domains.database import Database
from sea_env.episodes.conversation import open_environment
from sea_env.tasks.task import Task
from sea_env.verify.checks import assertion_holds


def replay(domain: Domain, task: Task, database: Database) -> dict[str, Any]:
    """Each call's result and error flag, both databases' changes, each assertion's outcome.

    Changes are those since the task's initial state. Raises InitialStateError.
    """
    environment = open_environment(domain, database, task)
    calls = []
    for action in task.criteria.actions:
        result = environment.call(action.name, action.arguments, action.requestor)
        calls.append(
            {
                "requestor": action.requestor,
                "name": action.name,
                "arguments": dict(action.arguments),
                "content": result.content,
                "error": result.error,
            }
        )
    return {
        "task_id": task.id,
        "gold_calls": calls,
        "agent_db_changes": environment.changes("assistant"),
        "user_db_changes": environment.changes("user"),
        "env_assertions": [
            assertion_holds(environment, assertion) for assertion in task.criteria.env_assertions
        ],
    }
