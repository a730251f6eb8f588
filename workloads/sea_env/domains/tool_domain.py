"""Base class of the built-in domains: tools over tables that pydantic models describe.

A domain names its parts (see `mock/domain.py` for a small one); this class builds the toolbox,
reads databases through the models and writes tau2-bench's system prompt.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from sea_env.domains.base import Tool
from sea_env.domains.database import Database, parse_tables, parse_user_tables, require_tables
from sea_env.domains.environment import Toolbox, ToolEnvironment
from sea_env.domains.overlay import Tables
from sea_env.domains.toolkit import as_assertion
from sea_env.domains.validation import validated, validated_part, warn_unknown_fields
from sea_env.tokens import tool_prompt

_INSTRUCTION = """\
<instructions>
You are a customer service agent that helps the user according to the <policy> provided below.
In each turn you can either:
- Send a message to the user.
- Make a tool call.
You cannot do both at the same time.

Try to be helpful and always follow the policy. Always make sure you generate valid JSON only.
</instructions>"""


def customer_service_prompt(policy: str, tools: Sequence[Tool]) -> str:
    """tau2-bench's instruction and the policy, then the tools as Qwen2.5 and Qwen3 expect them."""
    text = f"{_INSTRUCTION}\n<policy>\n{policy.strip()}\n</policy>"
    return tool_prompt.write(text, (tool.schema() for tool in tools))


def by_name(tools: Iterable[Tool]) -> dict[str, Tool]:
    """The tools as a dict by their names."""
    return {tool.name: tool for tool in tools}


class ToolDomain:
    """A `Domain`. Stateless: one instance serves all episodes."""

    name: str
    tools: Sequence[Tool]
    user_tools: Sequence[Tool] = ()
    assertion_tools: Sequence[Tool] = ()
    """Tools that answer yes or no, which a task's `env_assertions` may name."""
    initialization_tools: Mapping[str, Sequence[Tool]] = {}
    """By requestor, what initial states may call in addition to the tools."""
    agent_model: type[BaseModel]
    """The agent's database; its fields are the tables."""
    user_model: type[BaseModel] | None = None
    """The user's database; None if the user has none."""
    max_bad_turns = 3
    policy_file: str | None = None

    def __init__(self) -> None:
        # Built once: `open` is the hot path of a reset and only hands it over.
        self._toolbox = toolbox = self._make_toolbox()
        self.assertions: Collection[str] = tuple(toolbox.assertions)
        self.functions: Collection[str] = tuple(
            name for functions in toolbox.initialization.values() for name in functions
        )

    def system_prompt(self, policy: str | None = None) -> str:
        """The prompt of an episode's agent."""
        return customer_service_prompt(policy or "", self.tools)

    def parse(self, data: bytes, name: str, user_data: bytes | None = None) -> Database:
        """Reads the databases of both sides; raises DatabaseError."""
        agent = self.read_agent(parse_tables(data, name), name)
        if self.user_model is None:
            return Database(agent)
        return Database(agent, self.read_user(parse_user_tables(user_data)))

    def open(self, database: Database) -> ToolEnvironment:
        """A new episode."""
        return ToolEnvironment(database, self._toolbox)

    def read_agent(self, raw: Mapping[str, Any], name: str) -> Tables:
        """The agent's database as its file has it -> tables; raises DatabaseError."""
        require_tables(raw, tuple(self.agent_model.model_fields), name)
        read = validated(self.agent_model, raw, name)
        warn_unknown_fields(self.name, raw, read, name)
        return read

    def read_user(self, raw: Mapping[str, Any]) -> Tables:
        """As `read_agent`, for the user's database; absent fields get their defaults."""
        assert self.user_model is not None, "only domains with a user's database read one"
        return validated(self.user_model, raw, f"of {self.name}'s user")

    def _make_toolbox(self) -> Toolbox:
        two_sided = self.user_model is not None
        return Toolbox(
            agent=by_name(self.tools),
            user=by_name(self.user_tools),
            assertions={tool.name: as_assertion(tool) for tool in self.assertion_tools},
            initialization={
                side: by_name(tools) for side, tools in self.initialization_tools.items()
            },
            layouts={"assistant": self._reread_agent, "user": self.read_user} if two_sided else {},
            records=None if two_sided else self._read_changed_records,
        )

    def _reread_agent(self, raw: Mapping[str, Any]) -> Tables:
        return self.read_agent(raw, f"of {self.name}'s agent")

    def _read_changed_records(self, raw: Mapping[str, Any]) -> Tables:
        name = "with the task's initial data"
        read = validated_part(self.agent_model, raw, name)
        warn_unknown_fields(self.name, raw, read, name)
        return read
