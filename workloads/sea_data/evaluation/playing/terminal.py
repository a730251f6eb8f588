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
Write = Callable[[str], None]
"""Writes a line for the person."""
Show = Callable[[], None]
"""Writes what was said and done since it was last called."""


class LeftError(Exception):
    """The person quits; there is no verdict."""


class Terminal:
    """What both sides share: lines read until one is a turn, commands answered on the way."""

    help = ""
    prompt = ""

    def __init__(
        self, task: Task, tools: Sequence[Tool], read: Read, write: Write, show: Show
    ) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._task, self._read, self._write, self._show = task, read, write, show

    def _next(self) -> str | ToolCall:
        """The person's text or call; a text may be a command of the side's own.

        Raises LeftError.
        """
        while True:
            line = _line(self._read, self.prompt)
            if not line.startswith("/"):
                return line
            name = line[1:].partition(" ")[0]
            if name in self._tools:
                call = _called(line, self._tools, self._write)
                if call is not None:
                    return call
            elif self._ends(name):
                return line
            elif name == "tools":
                _list_tools(self._tools, self._write)
            elif not self._command(name):
                self._write(self.help)

    def _ends(self, name: str) -> bool:
        """True if this command is a turn by itself."""
        return False

    def _command(self, name: str) -> bool:
        """Answers a command of this side; False if it has none of that name."""
        return False


class HandAgent(Terminal):
    """Text goes to the user; `/tool name=value ...` or `/tool {json}` calls a tool."""

    help = "/tools  /policy  /expected  /quit  |  /TOOL name=value ...  or  /TOOL {json}  |  text"
    prompt = "agent> "

    def __init__(
        self, domain: Domain, task: Task, policy: str, read: Read, write: Write, show: Show
    ) -> None:
        super().__init__(task, domain.tools, read, write, show)
        self._policy = policy

    async def turn(self, messages: Sequence[Message]) -> AgentTurn:
        """Raises LeftError."""
        self._show()
        given = self._next()
        return AgentTurn(given) if isinstance(given, str) else AgentTurn("", (given,))

    def _command(self, name: str) -> bool:
        if name == "policy":
            self._write(self._policy)
        elif name == "expected":
            _write_expected(self._task, self._write)
        return name in {"policy", "expected"}


_ENDS = {
    "stop": Signal.STOP,
    "transfer": Signal.TRANSFER,
    "out-of-scope": Signal.OUT_OF_SCOPE,
}


class HandUser(Terminal):
    """Text goes to the agent; `/stop` and `/transfer` end the dialogue.

    `tools` are the user's own (telecom's phone).
    """

    help = "/scenario  /tools  /stop  /transfer  /out-of-scope  /quit  |  text"
    prompt = "user> "

    async def reply(self, heard: Sequence[Message]) -> Reply:
        """Raises LeftError."""
        self._show()
        given = self._next()
        if isinstance(given, ToolCall):
            return AgentTurn("", (given,))
        return _ENDS[given[1:]] if given.startswith("/") else given

    def _ends(self, name: str) -> bool:
        return name in _ENDS

    def _command(self, name: str) -> bool:
        if name == "scenario":
            write_scenario(self._task, self._write)
        return name == "scenario"


def _called(line: str, tools: Mapping[str, Tool], write: Write) -> ToolCall | None:
    """The call that a line makes; None, with a sentence to the person, if it can't be read."""
    name, _, rest = line[1:].partition(" ")
    try:
        return ToolCall(name, arguments(tools[name], rest))
    except ValueError as error:
        write(f"{error} It takes {signature(tools[name])}.")
        return None


def _list_tools(tools: Mapping[str, Tool], write: Write) -> None:
    for tool in tools.values():
        write(f"  /{signature(tool)}  {tool.description}")


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


def write_scenario(task: Task, write: Write) -> None:
    """What the user knows and wants."""
    for name, value in task.instructions.items():
        if value:
            write(f"  {name.replace('_', ' ')}: {value}")


def _write_expected(task: Task, write: Write) -> None:
    for action in task.criteria.actions:
        write(f"  {action.name} {json.dumps(dict(action.arguments), ensure_ascii=False)}")
    for info in task.criteria.communicate_info:
        write(f"  say: {info}")
