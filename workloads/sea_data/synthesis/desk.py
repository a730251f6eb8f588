"""The desk where a dialogue is made: both sides' turns are written down, tools really run.

A worker writes the dialogue top to bottom (`user`, `agent`, `call`); what a call returns is what
the tool said about the real database, so the agent's later words can only come from there.
"""

import json
from collections.abc import Mapping
from typing import Any

from sea_env.domains.base import Environment
from sea_env.tasks.task import Action
from sea_env.tokens.messages import ToolCall


class ToolRefusedError(Exception):
    """A tool answered with an error where the worker expected none."""


class Desk:
    """One dialogue in the making over one episode's environment."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.messages: list[dict[str, Any]] = []
        self.actions: list[Action] = []
        """Every call that was made, in order: the task's expected actions."""

    def user(self, text: str) -> None:
        self.messages.append({"role": "user", "content": text})

    def agent(self, text: str) -> None:
        self.messages.append({"role": "assistant", "content": text})

    def confirm(self, question: str, answer: str) -> None:
        """The agent lists what it is about to do and asks; the customer says yes."""
        self.agent(question)
        self.user(answer)

    def call(self, name: str, **arguments: Any) -> Any:
        """The agent's call; its result, parsed where it is JSON. Raises ToolRefusedError."""
        return self._call("assistant", name, arguments)

    def user_call(self, name: str, **arguments: Any) -> Any:
        """The same by the user, on the user's own tools."""
        return self._call("user", name, arguments)

    def _call(self, role: str, name: str, arguments: Mapping[str, Any]) -> Any:
        result = self.environment.call(name, arguments, role)
        if result.error:
            raise ToolRefusedError(f"{name}({json.dumps(dict(arguments))}) says {result.content}")
        self.actions.append(Action(name, dict(arguments), role))
        call = ToolCall(name, arguments).as_dict()
        self.messages.append({"role": role, "content": "", "tool_calls": [call]})
        answer: dict[str, Any] = {"role": "tool", "content": result.content}
        # The agent neither sees the user's calls nor their results.
        self.messages.append(answer if role == "assistant" else {**answer, "requestor": "user"})
        return _value(result.content)


def _value(content: str) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content
