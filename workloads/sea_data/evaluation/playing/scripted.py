"""Agents without a model, for playing a task as its user: the shop's teacher, others by the task.

A task's expected calls are made in their order, each that changes something announced first.
"""

from collections.abc import Iterator, Sequence

from sea_data.evaluation.playing.agent import Agent
from sea_data.formats.tau2_convert import ASK, TRANSFERRED
from sea_env.domains.base import Domain, Kind
from sea_env.domains.shop import teacher
from sea_env.tasks.task import Action, Task
from sea_env.tokens.call_formats import call_json
from sea_env.tokens.messages import AgentTurn, Message, ToolCall

_SETTLED = "That is all settled. Is there anything else?"


def scripted(domain: Domain, task: Task) -> Agent:
    """The best agent that the domain has without a model."""
    return Teacher() if domain.name == "shop" else Expected(domain, task)


class Teacher:
    """The shop's correct agent."""

    async def turn(self, messages: Sequence[Message]) -> AgentTurn:
        return teacher.turn(messages)


class Expected:
    """Makes the expected calls, gives the required information, then waits for the user to stop."""

    def __init__(self, domain: Domain, task: Task) -> None:
        self._turns = _turns(domain, task)

    async def turn(self, messages: Sequence[Message]) -> AgentTurn:
        return next(self._turns)


def _turns(domain: Domain, task: Task) -> Iterator[AgentTurn]:
    writes = {tool.name for tool in domain.tools if tool.kind is Kind.WRITE}
    yield AgentTurn(ASK)
    for action in task.criteria.actions:
        if action.requestor != "assistant":
            continue
        if action.name in writes:
            yield AgentTurn(f"I am going to do this: {_words(action)}. Do you confirm (yes)?")
        yield AgentTurn("", (ToolCall(action.name, action.arguments),))
        if "transfer" in action.name:
            yield AgentTurn(TRANSFERRED)
    said = [f"To your question: {info}." for info in task.criteria.communicate_info]
    yield AgentTurn(" ".join([*said, _SETTLED]))
    while True:
        yield AgentTurn("Is there anything else? If not, say ###STOP###.")


def _words(action: Action) -> str:
    return call_json(action.name, action.arguments)
