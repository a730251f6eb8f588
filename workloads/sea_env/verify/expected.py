"""DB part: the end state equals that of the expected actions on a fresh database.

The expected end state is computed once per task and database and kept in the database's memo.
"""

import json
from typing import Any

from sea_env.domains.base import Domain, Environment
from sea_env.domains.database import Database
from sea_env.domains.overlay import Change
from sea_env.tasks.task import Task

EndState = tuple[list[Change], list[Change]]


def end_state(environment: Environment) -> EndState:
    """Changes of the agent's and of the user's database."""
    return environment.changes("assistant"), environment.changes("user")


def expected(domain: Domain, task: Task, database: Database) -> EndState:
    """What the task's expected actions leave behind; actions that err are kept as they are."""
    key = (domain.name, _identity(task))
    known: EndState | None = database.memo.get(key)
    if known is None:
        fresh = domain.open(database)
        for action in task.criteria.actions:
            fresh.call(action.name, action.arguments, action.requestor)
        known = database.memo[key] = end_state(fresh)
    return known


def matches(domain: Domain, task: Task, environment: Environment) -> bool:
    """Whether the episode's databases are as expected."""
    return end_state(environment) == expected(domain, task, environment.database)


def _identity(task: Task) -> str:
    actions: list[Any] = [[a.requestor, a.name, a.arguments] for a in task.criteria.actions]
    return json.dumps(actions, sort_keys=True)
