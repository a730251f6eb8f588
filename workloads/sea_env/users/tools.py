"""Which tools the user of a task has."""

from collections.abc import Collection, Sequence
from typing import Any

from sea_env.domains.base import Domain, Tool
from sea_env.tasks.task import Task


def of_task(domain: Domain, task: Task) -> Sequence[Tool]:
    """The domain's user tools, or those of them that the task's `user_tools` names."""
    named = task.row.get("user_tools")
    return chosen(domain, named if isinstance(named, list) else None)


def chosen(domain: Domain, names: Collection[Any] | None) -> Sequence[Tool]:
    """Those of the domain's user tools that are named; all of them for None."""
    if names is None:
        return domain.user_tools
    return [tool for tool in domain.user_tools if tool.name in names]
