"""Which tools the user of a task has."""

from collections.abc import Sequence

from sea_workloads.data.task import Task
from sea_workloads.domains.base import Domain, Tool


def of_task(domain: Domain, task: Task) -> Sequence[Tool]:
    """The domain's user tools, or those of them that the task's `user_tools` names."""
    named = task.row.get("user_tools")
    if not isinstance(named, list):
        return domain.user_tools
    return [tool for tool in domain.user_tools if tool.name in named]
