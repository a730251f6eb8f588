"""What a domain is: tools over a database, a policy, and assertions about the end state.

The episode loop calls `Environment.call`; the verifier compares `changes()` and runs assertions.
An error of a tool is a result that the agent reads, never an exception.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, Protocol

from sea_env.domains.arguments import Check, checks
from sea_env.domains.database import Database
from sea_env.domains.overlay import Change
from sea_env.errors import EnvError


class Kind(StrEnum):
    """tau2-bench's tool types; only WRITE changes the database."""

    READ = "read"
    WRITE = "write"
    THINK = "think"
    GENERIC = "generic"


@dataclass(frozen=True)
class Tool:
    """One callable of the agent or the user."""

    name: str
    kind: Kind
    description: str
    parameters: Mapping[str, Any]
    """JSON schema of the arguments: properties, required, type object."""
    run: Callable[..., Any]
    """`run(state, **arguments)`; raises ToolError for what the caller did wrong."""
    nullable: frozenset[str] = frozenset()
    """Arguments that take null although the schema doesn't say so, as in tau2-bench."""

    @cached_property
    def checks(self) -> Mapping[str, Check]:
        """One check per argument, built from `parameters` at the first call."""
        return checks(self.parameters)

    @cached_property
    def exact_types(self) -> Mapping[str, type | None]:
        """By argument, the type whose every value fits; None if the value itself must be looked
        at."""
        return {name: check.exact for name, check in self.checks.items()}

    @cached_property
    def required(self) -> frozenset[str]:
        """Names of the arguments that every call must give."""
        return frozenset(self.parameters.get("required", ()))

    def schema(self) -> dict[str, Any]:
        """The OpenAI function schema that goes into a prompt."""
        function = {
            "name": self.name,
            "description": self.description,
            "parameters": dict(self.parameters),
        }
        return {"type": "function", "function": function}


class ToolError(EnvError):
    """A mistake of a tool's caller; its text becomes the error result."""


@dataclass(slots=True)
class ToolResult:
    """What the caller of a tool reads: text, or JSON as text.

    Treat as frozen. Declared so, making one takes as long as a tool that reads a record.
    """

    content: str
    error: bool = False


class Environment(Protocol):
    """One episode's databases, and the calls that change them."""

    database: Database

    def call(
        self, name: str, arguments: Mapping[str, Any], requestor: str = "assistant"
    ) -> ToolResult:
        """Runs a tool of the agent, or of the user if `requestor` is "user"."""
        ...

    def changes(self, requestor: str = "assistant") -> list[Change]:
        """How that side's database differs from the shared base, sorted by path."""
        ...

    def base(self, requestor: str = "assistant") -> Mapping[str, Any]:
        """The shared base of that side in the layout of its file, which `changes` refers to."""
        ...

    def check(self, function: str, arguments: Mapping[str, Any]) -> bool:
        """Runs a named assertion. Raises UnknownAssertionError if the domain has none of that name,
        ToolError if it can't be answered (the record it is about doesn't exist)."""
        ...

    def setup(
        self, function: str, arguments: Mapping[str, Any], requestor: str = "assistant"
    ) -> None:
        """Runs a function of a task's initial state; raises ToolError."""
        ...

    def merge(self, data: Mapping[str, Any], requestor: str = "assistant") -> None:
        """Merges a task's initial data into that side's database; raises DatabaseError."""
        ...

    def freeze(self, initial: str) -> Database:
        """The present state as a base for episodes; the environment must not be used again.

        `initial` becomes `Database.initial`."""
        ...


class UnknownAssertionError(EnvError):
    """A task names an assertion that its domain doesn't have."""


class Domain(Protocol):
    """The constant part of all episodes: tools, policy, readers. Stateless."""

    @property
    def name(self) -> str:
        """As task rows and commands name it, without a package."""
        ...

    @property
    def tools(self) -> Sequence[Tool]:
        """The agent's tools."""
        ...

    @property
    def user_tools(self) -> Sequence[Tool]:
        """The user's tools; empty if the user has none."""
        ...

    @property
    def assertions(self) -> Collection[str]:
        """Names that `Environment.check` knows."""
        ...

    @property
    def functions(self) -> Collection[str]:
        """Names that initial states may call in addition to the tools."""
        ...

    @property
    def max_bad_turns(self) -> int:
        """Malformed turns of the agent that are answered with an error; one more ends the
        episode."""
        ...

    @property
    def policy_file(self) -> str | None:
        """File name of the policy in the folder of the databases; None if it is built in."""
        ...

    def system_prompt(self, policy: str | None = None) -> str:
        """The prompt of an episode's agent: policy and tools."""
        ...

    def parse(self, data: bytes, name: str, user_data: bytes | None = None) -> Database:
        """Reads a database file (`.json` or `.toml` by `name`); raises DatabaseError."""
        ...

    def open(self, database: Database) -> Environment:
        """A new episode over the database, which it shares with all others."""
        ...
