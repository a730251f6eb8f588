"""The one implementation of `Environment`: overlays, tools by name, errors as results."""

import inspect
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sea_env.domains import initial_data
from sea_env.domains.base import Tool, ToolError, ToolResult, UnknownAssertionError
from sea_env.domains.database import Database
from sea_env.domains.edited_record import EditedRecord, json_encoder
from sea_env.domains.overlay import Change, Tables
from sea_env.domains.state import State
from sea_env.domains.toolkit import check_arguments

_log = logging.getLogger(__name__)

Assertion = Callable[..., bool]
Layout = Callable[[Mapping[str, Any]], Tables]
"""One side's database as its file has it -> tables; raises DatabaseError."""


@dataclass(frozen=True)
class Toolbox:
    """A domain's constant tables, shared by all of its environments."""

    agent: Mapping[str, Tool]
    user: Mapping[str, Tool]
    assertions: Mapping[str, Assertion]
    initialization: Mapping[str, Mapping[str, Tool]] = field(default_factory=dict)
    """By requestor, what initial states may call in addition to the tools."""
    sync: Callable[[State], None] | None = None
    """Carries over what one side's change means to the other; runs after calls that wrote."""
    listed: Collection[str] = ()
    """Tables that are lists in the database's own layout."""
    layouts: Mapping[str, Layout] = field(default_factory=dict)
    """By requestor, how a whole database is read again after initial data changed it."""
    records: Layout | None = None
    """As `layouts`, for only those of the agent's records that initial data changed: reading a
    large database again for each task would take too long. See `initial_data.merged`."""
    one_database: bool = False
    """True for tau2-bench's mock: initial data for one side replaces both sides' databases."""
    separators: tuple[str, str] = (", ", ": ")
    """Of the JSON in results: tau2-bench writes spaces, the shop's dialogues are compact."""

    @cached_property
    def encode(self) -> Callable[[Any], str]:
        """A result as JSON, as `json.dumps` writes it."""
        return json_encoder(self.separators)

    def tools(self, requestor: str) -> Mapping[str, Tool]:
        """The tools of the agent or of the user, by name."""
        return self.user if requestor == "user" else self.agent

    def function(self, name: str, requestor: str) -> Tool | None:
        """What an initial state may call by this name."""
        tables = (self.initialization.get(requestor, {}), self.tools(requestor))
        return next((table[name] for table in tables if name in table), None)


class ToolEnvironment:
    """One episode over a shared database."""

    __slots__ = ("_state", "_synced", "_toolbox", "database")

    def __init__(self, database: Database, toolbox: Toolbox) -> None:
        self.database = database
        self._toolbox = toolbox
        self._state = State(database)
        self._synced = 0
        """Number of writes at the last sync; -1 forces one."""

    def call(
        self, name: str, arguments: Mapping[str, Any], requestor: str = "assistant"
    ) -> ToolResult:
        """Runs a tool. Whatever goes wrong is an error result, never an exception.

        An exception would end the episode without a verdict: a policy could learn to escape a bad
        one by a call that breaks a tool. tau2-bench answers the same (`Environment.get_response`).
        """
        toolbox = self._toolbox
        tool = (toolbox.user if requestor == "user" else toolbox.agent).get(name)
        if tool is None:
            return ToolResult(f"Error: Tool '{name}' not found.", True)
        try:
            state = self._state
            value = tool.run(state, **check_arguments(tool, arguments))
            # Most calls write nothing that the other side may have to follow.
            if toolbox.sync is not None and state.agent.writes + state.user.writes != self._synced:
                self._sync(toolbox.sync)
            return ToolResult(value if type(value) is str else self._text(value))
        except ToolError as error:
            return ToolResult(f"Error: {error}", True)
        except Exception as error:
            # A tool that doesn't expect these arguments: worth a look, but not a lost episode.
            _log.info("The tool %s broke.", name, exc_info=True)
            return ToolResult(f"Error: {type(error).__name__}: {error}", True)

    def changes(self, requestor: str = "assistant") -> list[Change]:
        """How that side's database differs from the shared base, sorted by path."""
        return self._state.side(requestor).changes(self._toolbox.listed)

    def base(self, requestor: str = "assistant") -> Mapping[str, Any]:
        """The shared base of that side in the layout of its file."""
        side = State(self.database).side(requestor)
        return initial_data.in_file_layout(side, self._toolbox.listed)

    def check(self, function: str, arguments: Mapping[str, Any]) -> bool:
        """Runs an assertion; raises UnknownAssertionError, or ToolError if it has no answer."""
        assertion = self._toolbox.assertions.get(function)
        if assertion is None:
            known = ", ".join(sorted(self._toolbox.assertions)) or "none"
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
        self._sync(self._toolbox.sync)
        return found

    def setup(
        self, function: str, arguments: Mapping[str, Any], requestor: str = "assistant"
    ) -> None:
        """Runs a function of a task's initial state; raises ToolError."""
        found = self._toolbox.function(function, requestor)
        if found is None:
            raise ToolError(f"the domain has no function {function!r} of the {requestor}")
        found.run(self._state, **check_arguments(found, arguments))
        self._sync(self._toolbox.sync)

    def merge(self, data: Mapping[str, Any], requestor: str = "assistant") -> None:
        """Merges a task's initial data into that side's database; raises DatabaseError."""
        toolbox = self._toolbox
        base = initial_data.in_file_layout(self._state.side(requestor), toolbox.listed)
        records = None if requestor == "user" else toolbox.records
        tables = initial_data.merged(base, data, toolbox.layouts.get(requestor), records)
        other = self._state.side("assistant" if requestor == "user" else "user").folded()
        both = (tables, tables) if toolbox.one_database else (tables, other)
        agent, user = both if requestor != "user" else both[::-1]
        self._state = State(Database(agent, user, session=self._state.session))
        # The new state counts its writes from zero, so the old count says nothing about it.
        self._synced = -1
        self._sync(toolbox.sync)

    def freeze(self, initial: str) -> Database:
        """The present state as a base for episodes; this environment must not be used again."""
        agent = self._state.agent.folded()
        one = self._state.user is self._state.agent
        user = agent if one else self._state.user.folded()
        return Database(agent, user, session=self._state.session, initial=initial)

    def _sync(self, sync: Callable[[State], None] | None) -> None:
        state = self._state
        writes = state.agent.writes + state.user.writes
        if sync is not None and writes != self._synced:
            sync(state)
            # Counted after the sync: its own writes need no other round, a second run would
            # change nothing.
            self._synced = state.agent.writes + state.user.writes

    def _text(self, value: Any) -> str:
        toolbox = self._toolbox
        if type(value) is EditedRecord:
            return value.text(toolbox.encode, toolbox.separators, self._state.memo)
        return value if isinstance(value, str) else toolbox.encode(value)
