"""Which tools the user of a dialogue to learn from has."""

from collections.abc import Sequence

from sea_data.formats.dialogue import Dialogue
from sea_env.domains import registry
from sea_env.domains.base import Domain, Tool
from sea_env.tokens.messages import calls_of
from sea_env.users.base import named_user_tools


def of_dialogue(given: Dialogue) -> Sequence[Tool]:
    """As `users.base.task_user_tools` for the dialogue's task; none if its domain is unknown."""
    domain = _named(given.domain) or _with_tools(_called_by_user(given))
    return named_user_tools(domain, given.user_tools) if domain else ()


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
