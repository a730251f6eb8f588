"""A person at a terminal as the agent or the user of an episode.

Reading and writing are given, so that tests can type. A person's command never ends up in the
dialogue: lines that begin with a slash are commands or tool calls.
"""

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sea_env.domains.base import Domain, Tool
from sea_env.tasks.task import Task
from sea_env.tokens import plain_json
from sea_env.tokens.messages import AgentTurn, Message, ToolCall
from sea_env.users.base import Reply, Signal

Read = Callable[[str], str]
"""`read(prompt) -> line`; raises EOFError at the end of input."""
Tell = Callable[[str], None]
Show = Callable[[], None]
"""Writes what was said and done since it was last called."""


class LeftError(Exception):
    """The person has had enough; there is no verdict."""


class HandAgent:
    """Text goes to the user; `/tool name=value ...` or `/tool {json}` calls a tool."""

    help = "/tools  /policy  /expected  /quit  |  /TOOL name=value ...  or  /TOOL {json}  |  text"

    def __init__(
        self, domain: Domain, task: Task, policy: str, read: Read, tell: Tell, show: Show
    ) -> None:
        self._tools = {tool.name: tool for tool in domain.tools}
        self._task, self._policy = task, policy
        self._read, self._tell, self._show = read, tell, show

    async def turn(self, messages: Sequence[Message]) -> AgentTurn:
        """Raises LeftError."""
        self._show()
        while True:
            line = _line(self._read, "agent> ")
            if not line.startswith("/"):
                return AgentTurn(line)
            call = _called(line, self._tools, self._tell)
            if call is not None:
                return AgentTurn("", (call,))
            self._command(line[1:].partition(" ")[0])

    def _command(self, name: str) -> None:
        if name in self._tools:
            return
        if name == "tools":
            _tell_tools(self._tools, self._tell)
        elif name == "policy":
            self._tell(self._policy)
        elif name == "expected":
            _tell_expected(self._task, self._tell)
        else:
            self._tell(self.help)


class HandUser:
    """Text goes to the agent; `/stop` and `/transfer` end the dialogue."""

    help = "/scenario  /tools  /stop  /transfer  /out-of-scope  /quit  |  text"
    _ends = {
        "stop": Signal.STOP,
        "transfer": Signal.TRANSFER,
        "out-of-scope": Signal.OUT_OF_SCOPE,
    }

    def __init__(
        self, task: Task, tools: Sequence[Tool], read: Read, tell: Tell, show: Show
    ) -> None:
        """`tools` are the user's own (telecom's phone)."""
        self._tools = {tool.name: tool for tool in tools}
        self._task, self._read, self._tell, self._show = task, read, tell, show

    async def reply(self, heard: Sequence[Message]) -> Reply:
        """Raises LeftError."""
        self._show()
        while True:
            line = _line(self._read, "user> ")
            if not line.startswith("/"):
                return line
            if line[1:] in self._ends:
                return self._ends[line[1:]]
            call = _called(line, self._tools, self._tell)
            if call is not None:
                return AgentTurn("", (call,))
            self._command(line[1:].partition(" ")[0])

    def _command(self, name: str) -> None:
        if name in self._tools:
            return
        if name == "tools":
            _tell_tools(self._tools, self._tell)
        elif name == "scenario":
            tell_scenario(self._task, self._tell)
        else:
            self._tell(self.help)


def _called(line: str, tools: Mapping[str, Tool], tell: Tell) -> ToolCall | None:
    """The call that a line makes; None for a command, and for a call that can't be read."""
    name, _, rest = line[1:].partition(" ")
    if name not in tools:
        return None
    try:
        return ToolCall(name, arguments(tools[name], rest))
    except ValueError as error:
        tell(f"{error} It takes {signature(tools[name])}.")
        return None


def _tell_tools(tools: Mapping[str, Tool], tell: Tell) -> None:
    for tool in tools.values():
        tell(f"  /{signature(tool)}  {tool.description}")


def _line(read: Read, prompt: str) -> str:
    while True:
        try:
            line = read(prompt).strip()
        except EOFError as error:
            raise LeftError from error
        if line == "/quit":
            raise LeftError
        if line:
            return line


def arguments(tool: Tool, text: str) -> dict[str, Any]:
    """`{json}`, or `name=value` pairs in shell quotes; values are JSON where the schema wants so.

    Raises ValueError with a sentence.
    """
    if text.strip().startswith("{"):
        try:
            value: dict[str, Any] = plain_json.loads(text)
        except ValueError as error:
            raise ValueError(f"That is no JSON object: {error}.") from error
        return value
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ValueError(f"{error}.") from error
    return dict(_pair(word, tool.parameters.get("properties") or {}) for word in words)


def _pair(word: str, properties: Mapping[str, Any]) -> tuple[str, Any]:
    name, equals, value = word.partition("=")
    if not equals:
        raise ValueError(f"{word!r} is no name=value.")
    if (properties.get(name) or {}).get("type") == "string":
        return name, value
    try:
        return name, plain_json.loads(value)
    except ValueError:
        return name, value


def signature(tool: Tool) -> str:
    """`get_order(order: string)`."""
    properties = tool.parameters.get("properties") or {}
    given = [f"{name}: {schema.get('type', 'any')}" for name, schema in properties.items()]
    return f"{tool.name}({', '.join(given)})"


def tell_scenario(task: Task, tell: Tell) -> None:
    """What the user knows and wants."""
    for name, value in task.instructions.items():
        if value:
            tell(f"  {name.replace('_', ' ')}: {value}")


def _tell_expected(task: Task, tell: Tell) -> None:
    for action in task.criteria.actions:
        tell(f"  {action.name} {json.dumps(dict(action.arguments), ensure_ascii=False)}")
    for info in task.criteria.communicate_info:
        tell(f"  say: {info}")
