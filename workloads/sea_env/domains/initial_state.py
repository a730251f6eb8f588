"""A task's `initial_state`: data merged into the databases, functions run, a dialogue replayed.

The result is a new `Database`, built once per task and cached in the base's memo. The task's
episodes share it like any other, and `changes` reports what they change relative to it.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sea_env.domains import message_history
from sea_env.domains.base import Domain, Environment, Kind, ToolError
from sea_env.domains.database import Database, DatabaseError
from sea_env.errors import EnvError

InitialState = Mapping[str, Any]
"""`{"initialization_data": {"agent_data", "user_data"}, "initialization_actions": [{"env_type",
"func_name", "arguments"}], "message_history": [message]}`, each optional."""

_SIDES = {"agent_data": "assistant", "user_data": "user"}


class InitialStateError(EnvError):
    """An initial state that can't be set up: which part of it, and why not."""


def identity(state: InitialState | None) -> str:
    """Equal for equal initial states; empty if there is none."""
    return json.dumps(state, sort_keys=True) if state else ""


def begin(domain: Domain, database: Database, state: InitialState | None) -> Database:
    """The database that the task's episodes open, built at the first call. Raises
    InitialStateError."""
    name = identity(state)
    if not state or database.initial == name:
        return database
    known: Database | None = database.memo.get(("initial", domain.name, name))
    if known is None:
        known = prepared(domain, database, state).freeze(name)
        database.memo["initial", domain.name, name] = known
    return known


def check(domain: Domain, state: InitialState | None) -> None:
    """Raises InitialStateError for what is wrong with any database: shapes and unknown names."""
    for place, action in _actions(state or {}):
        name, side = action.get("func_name"), action.get("env_type")
        if side not in _SIDES.values():
            raise InitialStateError(f"{place}.env_type must be 'user' or 'assistant'.")
        tools = domain.user_tools if side == "user" else domain.tools
        known = {tool.name for tool in tools}.union(domain.functions)
        if not isinstance(name, str) or name not in known:
            raise InitialStateError(f"{place}: the domain {domain.name} has no function {name!r}.")
        if not isinstance(action.get("arguments") or {}, dict):
            raise InitialStateError(f"{place}.arguments must be an object.")
    for key, data in _data(state or {}).items():
        if key not in _SIDES:
            raise InitialStateError(f"initialization_data has the unknown side {key!r}.")
        if not isinstance(data, dict):
            raise InitialStateError(f"initialization_data.{key} must be an object.")
    messages(state)


def messages(state: InitialState | None) -> Sequence[Mapping[str, Any]]:
    """The dialogue that episodes of the task begin with; raises InitialStateError."""
    found = (state or {}).get("message_history") or []
    if not isinstance(found, list):
        raise InitialStateError("message_history must be a list of messages.")
    try:
        return message_history.plain(found)
    except message_history.HistoryError as error:
        raise InitialStateError(f"{error}.") from error


def prepared(domain: Domain, database: Database, state: InitialState | None) -> Environment:
    """An environment with the initial state set up, not cached. Raises InitialStateError."""
    check(domain, state)
    environment = domain.open(database)
    if not state:
        return environment
    for key, data in _data(state).items():
        try:
            environment.merge(data, _SIDES[key])
        except (DatabaseError, ToolError) as error:
            raise InitialStateError(f"initialization_data.{key}: {error}") from error
    for place, action in _actions(state):
        try:
            environment.setup(
                action["func_name"], action.get("arguments") or {}, action["env_type"]
            )
        except ToolError as error:
            raise InitialStateError(f"{place} ({action['func_name']}): {error}.") from error
    _replay(domain, environment, messages(state))
    return environment


def _replay(domain: Domain, environment: Environment, said: Sequence[Mapping[str, Any]]) -> None:
    """Repeats the dialogue's calls that change databases; each must give the recorded answer."""
    writes = {
        (side, tool.name)
        for side, tools in (("assistant", domain.tools), ("user", domain.user_tools))
        for tool in tools
        if tool.kind is Kind.WRITE
    }
    for call, answer in message_history.calls(said):
        if (call.requestor, call.name) not in writes:
            continue
        result = environment.call(call.name, call.arguments, call.requestor)
        if not message_history.same(result.content, answer):
            raise InitialStateError(
                f"message_history: {call.name} answers {result.content!r} here, not {answer!r}."
            )


def _actions(state: InitialState) -> list[tuple[str, Mapping[str, Any]]]:
    found = state.get("initialization_actions") or []
    if not isinstance(found, list) or not all(isinstance(action, dict) for action in found):
        raise InitialStateError("initialization_actions must be a list of objects.")
    return [(f"initialization_actions[{i}]", action) for i, action in enumerate(found)]


def _data(state: InitialState) -> Mapping[str, Any]:
    found = state.get("initialization_data") or {}
    if not isinstance(found, dict):
        raise InitialStateError("initialization_data must be an object.")
    return {key: data for key, data in found.items() if data}
