"""The one implementation of `Environment`: overlays, tools by name, errors as results."""

import inspect
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from sea_env.domains import merging
from sea_env.domains.base import Tool, ToolError, ToolResult, UnknownAssertionError
from sea_env.domains.database import Database
from sea_env.domains.overlay import Change, Overlay, Record, Tables
from sea_env.domains.toolkit import check_arguments

Index = TypeVar("Index")
Assertion = Callable[..., bool]
Layout = Callable[[Mapping[str, Any]], Tables]
"""One side's database as its file has it -> tables; raises DatabaseError."""


class State:
    """What tools work on: both sides' overlays, and a scratch space that is no database."""

    __slots__ = ("agent", "memo", "session", "user")

    def __init__(self, database: Database) -> None:
        self.agent = Overlay(database.agent)
        self.user = self.agent if database.user is database.agent else Overlay(database.user)
        self.session: dict[str, Any] = dict(database.session)
        self.memo = database.memo

    def side(self, requestor: str) -> Overlay:
        """The database of the agent or of the user."""
        return self.user if requestor == "user" else self.agent

    def record(self, table: str, key: str, missing: str) -> Record:
        """A record of the agent's side, for reading; ToolError `missing` without one."""
        found = self.agent.get(table, key)
        if found is None:
            raise ToolError(missing)
        return found

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
    setup: Mapping[str, Mapping[str, Tool]] = field(default_factory=dict)
    """By requestor, what initial states may call besides the tools."""
    sync: Callable[[State], None] | None = None
    """Carries over what one side's change means to the other; runs after calls that wrote."""
    listed: Collection[str] = ()
    """Tables that are lists in the database's own layout."""
    layouts: Mapping[str, Layout] = field(default_factory=dict)
    """By requestor, how data of an initial state are read."""
    records: Layout | None = None
    """The same for the agent's records that such data change, where the whole is too much to read
    for a task: see `merging.laid_over`."""
    one_database: bool = False
    """tau2's mock: initial data for one side make its database that of both."""
    separators: tuple[str, str] = (", ", ": ")
    """Of the JSON in results: tau2 writes spaces, the shop's dialogues are compact."""

    @cached_property
    def encode(self) -> Callable[[Any], str]:
        """A result as JSON; one encoder for all calls, where `json.dumps` makes one for each."""
        return json.JSONEncoder(separators=self.separators).encode

    def tools(self, requestor: str) -> Mapping[str, Tool]:
        return self.user if requestor == "user" else self.agent

    def function(self, name: str, requestor: str) -> Tool | None:
        """What an initial state may call by this name."""
        tables = (self.setup.get(requestor, {}), self.tools(requestor))
        return next((table[name] for table in tables if name in table), None)


class ToolEnvironment:
    """One episode's world over a shared database."""

    __slots__ = ("_box", "_state", "_synced", "database")

    def __init__(self, database: Database, box: Toolbox) -> None:
        self.database = database
        self._box = box
        self._state = State(database)
        self._synced = 0

    def call(
        self, name: str, arguments: Mapping[str, Any], requestor: str = "assistant"
    ) -> ToolResult:
        tool = self._box.tools(requestor).get(name)
        if tool is None:
            return ToolResult(f"Error: Tool '{name}' not found.", True)
        try:
            return ToolResult(self._text(self._run(tool, arguments)))
        except (ToolError, ArithmeticError) as error:
            # A number that is too large for a sum is the caller's mistake like any other.
            return ToolResult(f"Error: {error}", True)

    def changes(self, requestor: str = "assistant") -> list[Change]:
        return self._state.side(requestor).changes(self._box.listed)

    def base(self, requestor: str = "assistant") -> Mapping[str, Any]:
        side = State(self.database).side(requestor)
        return merging.raw(side, self._box.listed)

    def check(self, function: str, arguments: Mapping[str, Any]) -> bool:
        assertion = self._box.assertions.get(function)
        if assertion is None:
            known = ", ".join(sorted(self._box.assertions)) or "none"
            raise UnknownAssertionError(
                f"The domain has no assertion {function!r}; it knows {known}."
            )
        try:
            inspect.signature(assertion).bind(self._state, **arguments)
        except TypeError as error:
            raise ToolError(
                f"the assertion {function} can't take its arguments: {error}"
            ) from error
        found = assertion(self._state, **arguments)
        self._sync()
        return found

    def setup(
        self, function: str, arguments: Mapping[str, Any], requestor: str = "assistant"
    ) -> None:
        found = self._box.function(function, requestor)
        if found is None:
            raise ToolError(f"the domain has no function {function!r} of the {requestor}")
        self._run(found, arguments)

    def merge(self, data: Mapping[str, Any], requestor: str = "assistant") -> None:
        box = self._box
        base = merging.raw(self._state.side(requestor), box.listed)
        records = None if requestor == "user" else box.records
        tables = merging.laid_over(base, data, box.layouts.get(requestor), records)
        other = self._state.side("assistant" if requestor == "user" else "user").folded()
        both = (tables, tables) if box.one_database else (tables, other)
        agent, user = both if requestor != "user" else both[::-1]
        self._state = State(Database(agent, user, session=self._state.session))
        self._synced = -1
        self._sync()

    def freeze(self, initial: str) -> Database:
        agent = self._state.agent.folded()
        one = self._state.user is self._state.agent
        user = agent if one else self._state.user.folded()
        return Database(agent, user, session=self._state.session, initial=initial)

    def _run(self, tool: Tool, arguments: Mapping[str, Any]) -> Any:
        check_arguments(tool, arguments)
        result = tool.run(self._state, **arguments)
        self._sync()
        return result

    def _sync(self) -> None:
        sync, state = self._box.sync, self._state
        if sync is None:
            return
        writes = state.agent.writes + state.user.writes
        if writes != self._synced:
            sync(state)
            # Its own writes need no other round: a second run would change nothing.
            self._synced = state.agent.writes + state.user.writes

    def _text(self, value: Any) -> str:
        if isinstance(value, str):
            return value
        return self._box.encode(value)
