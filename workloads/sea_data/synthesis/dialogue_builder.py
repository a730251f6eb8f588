"""Builds a dialogue turn by turn, with tool calls that really run.

A task generator writes the dialogue top to bottom (`user`, `agent`, `call`). A call returns what
the tool answered on the real database, so the agent's later words can only come from there.
"""

import json
from collections.abc import Mapping
from typing import Any

from sea_data.synthesis.item import TaskFaultError
from sea_env.domains.base import Environment
from sea_env.tasks.task import Action
from sea_env.tokens.messages import ToolCall


class ToolRefusedError(TaskFaultError):
    """A tool answered with an error where the task generator expected none."""


class DialogueBuilder:
    """One dialogue under construction, on one episode's environment."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.messages: list[dict[str, Any]] = []
        self.actions: list[Action] = []
        """All calls so far, in order: the task's expected actions."""

    def user(self, text: str) -> None:
        self.messages.append({"role": "user", "content": text})

    def agent(self, text: str) -> None:
        self.messages.append({"role": "assistant", "content": text})

    def confirm(self, question: str, answer: str) -> None:
        """The agent lists what it is about to do and asks; the customer says yes."""
        self.agent(question)
        self.user(answer)

    def call(self, name: str, **arguments: Any) -> Any:
        """A call by the agent. Returns the result, parsed if it is JSON.

        Raises ToolRefusedError if the tool answers with an error.
        """
        return self._call("assistant", name, arguments)

    def user_call(self, name: str, **arguments: Any) -> Any:
        """As `call`, by the user, on the user's own tools."""
        return self._call("user", name, arguments)

    def _call(self, role: str, name: str, arguments: Mapping[str, Any]) -> Any:
        result = self.environment.call(name, arguments, role)
        if result.error:
            raise ToolRefusedError(f"{name}({json.dumps(dict(arguments))}) says {result.content}")
        self.actions.append(Action(name, dict(arguments), role))
        call = ToolCall(name, arguments).as_dict()
        self.messages.append({"role": role, "content": "", "tool_calls": [call]})
        answer: dict[str, Any] = {"role": "tool", "content": result.content}
        # The agent sees neither the user's calls nor their results.
        self.messages.append(answer if role == "assistant" else {**answer, "requestor": "user"})
        return _value(result.content)


def _value(content: str) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content
