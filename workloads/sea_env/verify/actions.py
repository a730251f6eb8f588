"""ACTION part: every expected call was made, with the arguments that count."""

from collections.abc import Mapping, Sequence
from typing import Any

from sea_env.tasks.task import Action
from sea_env.tokens.messages import Message, calls_of


def made_all(expected: Sequence[Action], transcript: Sequence[Message]) -> bool:
    """Order and further calls don't matter; without `compare_args` the call's own count (tau2)."""
    made = [(message["role"], call) for message in transcript for call in calls_of(message)]
    return all(any(_fits(action, role, call) for role, call in made) for action in expected)


def _fits(action: Action, role: str, call: Mapping[str, Any]) -> bool:
    if action.name != call.get("name") or action.requestor != role:
        return False
    given = call.get("arguments")
    if not isinstance(given, Mapping):  # a saved episode of somebody else's
        given = {}
    compared = set(given if action.compare_args is None else action.compare_args)
    return _only(given, compared) == _only(action.arguments, compared)


def _only(arguments: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if name in names}
