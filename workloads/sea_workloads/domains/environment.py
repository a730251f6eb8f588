"""The one implementation of `Environment`: overlays, tools by name, errors as results."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from sea_workloads.domains.base import Tool, ToolError, ToolResult, UnknownAssertionError
from sea_workloads.domains.database import Database
from sea_workloads.domains.overlay import Change, Overlay
from sea_workloads.domains.toolkit import check_arguments

Index = TypeVar("Index")
Assertion = Callable[..., bool]


class State:
    """What tools work on: both sides' overlays, and a scratch space that is no database."""

    __slots__ = ("agent", "memo", "session", "user")

    def __init__(self, database: Database) -> None:
        self.agent = Overlay(database.agent)
        self.user = Overlay(database.user)
        self.session: dict[str, Any] = {}
        self.memo = database.memo

    def indexed(self, name: str, build: Callable[[], Index]) -> Index:
        """An index over parts of the base that no tool changes, built once per database."""
        known: Index | None = self.memo.get(("index", name))
        if known is None:
            known = self.memo["index", name] = build()
        return known

    def text(self, table: str, key: str) -> str:
        """A record of the agent's side as JSON, null without one.

        Texts of untouched records are made once and shared by all episodes.
        """
        if self.agent.owns(table, key):
            return json.dumps(self.agent.get(table, key))
        known: str | None = self.memo.get(("text", table, key))
        if known is None:
            found = self.agent.get(table, key)
            known = json.dumps(found)
            if found is not None:
                self.memo["text", table, key] = known
        return known


@dataclass(frozen=True)
class Toolbox:
    """A domain's constant tables, shared by all of its environments."""

    agent: Mapping[str, Tool]
    user: Mapping[str, Tool]
    assertions: Mapping[str, Assertion]
    separators: tuple[str, str] = (", ", ": ")
    """Of the JSON in results: tau2 writes spaces, the shop's dialogues are compact."""


class ToolEnvironment:
    """One episode's world over a shared database."""

    __slots__ = ("_box", "_state", "database")

    def __init__(self, database: Database, box: Toolbox) -> None:
        self.database = database
        self._box = box
        self._state = State(database)

    def call(
        self, name: str, arguments: Mapping[str, Any], requestor: str = "assistant"
    ) -> ToolResult:
        tools = self._box.user if requestor == "user" else self._box.agent
        tool = tools.get(name)
        if tool is None:
            return ToolResult(f"Error: Tool '{name}' not found.", True)
        try:
            check_arguments(tool, arguments)
            return ToolResult(self._text(tool.run(self._state, **arguments)))
        except ToolError as error:
            return ToolResult(f"Error: {error}", True)

    def changes(self, requestor: str = "assistant") -> list[Change]:
        overlay = self._state.user if requestor == "user" else self._state.agent
        return overlay.changes()

    def check(self, function: str, arguments: Mapping[str, Any]) -> bool:
        assertion = self._box.assertions.get(function)
        if assertion is None:
            known = ", ".join(sorted(self._box.assertions)) or "none"
            raise UnknownAssertionError(
                f"The domain has no assertion {function!r}; it knows {known}."
            )
        return assertion(self._state, **arguments)

    def _text(self, value: Any) -> str:
        if isinstance(value, str):
            return value
        return json.dumps(value, separators=self._box.separators)
