"""Which tools the user of a task, or of a dialogue to learn from, has."""

from collections.abc import Collection, Sequence
from typing import Any

from sea_workloads.data.dialogue import Dialogue
from sea_workloads.data.task import Task
from sea_workloads.domains import registry
from sea_workloads.domains.base import Domain, Tool
from sea_workloads.tokens.messages import calls_of


def of_task(domain: Domain, task: Task) -> Sequence[Tool]:
    """The domain's user tools, or those of them that the task's `user_tools` names."""
    named = task.row.get("user_tools")
    return _chosen(domain, named if isinstance(named, list) else None)


def of_dialogue(given: Dialogue) -> Sequence[Tool]:
    """As `of_task` for the task that the dialogue is about; none where its domain isn't known."""
    domain = _named(given.domain) or _with_tools(_called_by_user(given))
    return _chosen(domain, given.user_tools) if domain else ()


def _chosen(domain: Domain, names: Collection[Any] | None) -> Sequence[Tool]:
    if names is None:
        return domain.user_tools
    return [tool for tool in domain.user_tools if tool.name in names]


def _named(domain: str) -> Domain | None:
    try:
        return registry.get(domain)
    except registry.UnknownDomainError:
        return None


def _called_by_user(given: Dialogue) -> frozenset[str]:
    turns = (message for message in given.messages if message["role"] == "user")
    return frozenset(call["name"] for turn in turns for call in calls_of(turn))


def _with_tools(called: frozenset[str]) -> Domain | None:
    """The domain whose users have these tools: published rows don't always name theirs."""
    if not called:
        return None
    domains = (domain for name in registry.names() if (domain := _named(name)) is not None)
    return next((d for d in domains if called <= {tool.name for tool in d.user_tools}), None)
