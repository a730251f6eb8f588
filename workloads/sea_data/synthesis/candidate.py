"""A candidate: a task with a dialogue that solves it, made by real tool calls, not yet checked.

A task generator writes the dialogue top to bottom with `DialogueBuilder` (`user`, `agent`, `call`).
A call returns what the tool answered on the real database, so the agent's later words can only come
from there. Task generators and model agents hand candidates to `execution_checks`, which turns
those that pass into the rows of an `Accepted` item.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sea_data.formats import dialogue, rl
from sea_data.synthesis.plan import TaskFaultError
from sea_env.domains.base import Environment
from sea_env.tasks.task import Action, Assertion
from sea_env.tokens.messages import ToolCall

Message = dict[str, Any]


class NoCandidateError(TaskFaultError):
    """The database holds no record that fits the plan."""


@dataclass(frozen=True)
class Candidate:
    """The parts of a task's row, and the dialogue."""

    purpose: str
    scenario: Mapping[str, Any]
    """`user_scenario` of the row."""
    actions: Sequence[Action]
    messages: Sequence[Message]
    """The dialogue without a system prompt; ends with the user's signal."""
    communicate: Sequence[str] = ()
    assertions: Sequence[Assertion] = ()
    initial_state: Mapping[str, Any] | None = None
    basis: Sequence[str] = ("DB", "COMMUNICATE")

    def task_row(self, row_id: str, db_path: str) -> dict[str, Any]:
        """The `rl` row, still without verification function and provenance."""
        criteria: dict[str, Any] = {
            "actions": [_action(action) for action in self.actions],
            "communicate_info": list(self.communicate),
            "reward_basis": list(self.basis),
        }
        if self.assertions:
            criteria["env_assertions"] = [asdict(one) for one in self.assertions]
        row = rl.task_row(row_id, self.purpose, self.scenario, criteria, db_path)
        if self.initial_state:
            row["initial_state"] = dict(self.initial_state)
        return row

    def dialogue_row(self, row_id: str) -> dict[str, Any]:
        """The `sft` row of the whole dialogue; `dataset` fills the system message in."""
        system = {"role": "system", "content": ""}
        return dialogue.dialogue_row(row_id, [system, *self.messages], self.scenario, 1.0)


def _action(action: Action) -> dict[str, Any]:
    found = {"name": action.name, "arguments": dict(action.arguments)}
    return found if action.requestor == "assistant" else {**found, "requestor": action.requestor}


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
