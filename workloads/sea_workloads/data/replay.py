"""What a task's expected actions do to a fresh environment, in tau2-bench's own layout."""

from typing import Any

from sea_workloads.data.task import Task
from sea_workloads.domains.base import Domain
from sea_workloads.domains.database import Database


def replay(domain: Domain, task: Task, database: Database) -> dict[str, Any]:
    """Each call's result and error flag, both databases' changes, each assertion's outcome."""
    environment = domain.open(database)
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
            environment.check(assertion.func_name, assertion.arguments) == assertion.assert_value
            for assertion in task.criteria.env_assertions
        ],
    }
