"""Dialogues for tau2 tasks, made without a model: the expected actions with short plain texts.

The agent asks who calls, makes the expected calls one a turn, has the customer confirm what
changes the database, and closes by saying what the task wants to be said.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from sea_env.domains.base import Domain, Kind
from sea_env.domains.database import Database
from sea_env.episodes.conversation import Over, UserNext, open_conversation
from sea_env.episodes.limits import Limits
from sea_env.tasks.task import Action, Task
from sea_env.tokens.call_formats import call_json
from sea_env.tokens.messages import AgentTurn, ToolCall
from sea_env.users.base import task_user_tools
from sea_env.users.scripted import ScriptedUser
from sea_env.verify.verdict import verify

ASK = "Who am I talking to? Please tell me your email, or your name and zip code."
TRANSFERRED = "YOU ARE BEING TRANSFERRED TO A HUMAN AGENT. PLEASE HOLD ON."
_TRANSFER = "transfer_to_human_agents"
_LIMITS = Limits(max_turns=200, max_tokens_per_turn=1, context_length=1)


def play(
    domain: Domain, task: Task, database: Database, policy: str
) -> tuple[list[dict[str, Any]], float]:
    """The dialogue, system prompt first, and its reward (judged parts left out)."""
    conversation = open_conversation(domain, database, task, _LIMITS)
    user = ScriptedUser(task.scenario, seed=0, tools=task_user_tools(domain, task))
    agent = _turns(domain, task)
    following = conversation.start()
    while not isinstance(following, Over):
        if isinstance(following, UserNext):
            following = conversation.user(user.say(following.heard))
        else:
            following = conversation.agent(next(agent))
    verdict = verify(
        domain,
        without_judge(task),
        conversation.environment,
        conversation.messages,
        following.stop,
    )
    system = {"role": "system", "content": domain.system_prompt(policy)}
    return [system, *conversation.messages], verdict.reward


def without_judge(task: Task) -> Task:
    """The task with the parts taken out that only a judge model could check."""
    criteria = task.criteria
    basis = tuple(part for part in criteria.reward_basis if part != "NL_ASSERTION")
    return replace(task, criteria=replace(criteria, reward_basis=basis, nl_assertions=()))


def _turns(domain: Domain, task: Task) -> Iterator[AgentTurn]:
    writes = {tool.name for tool in domain.tools if tool.kind is Kind.WRITE}
    actions = task.criteria.actions
    yield AgentTurn(ASK)
    for action in actions:
        if action.requestor == "user":
            yield AgentTurn(f"Please do this on your side: {_instruction(action)}")
            continue
        if action.name in writes:
            yield AgentTurn(f"I am going to do this: {_words(action)}. Do you confirm (yes)?")
        yield AgentTurn("", (ToolCall(action.name, action.arguments),))
    if any(action.name == _TRANSFER for action in actions):
        yield AgentTurn(_closing(task, TRANSFERRED))
    while True:
        yield AgentTurn(_closing(task, "That is all settled. Have a nice day."))


def _words(action: Action) -> str:
    return call_json(action.name, action.arguments)


def _instruction(action: Action) -> str:
    """As a scripted user understands it."""
    arguments = json.dumps(dict(action.arguments)) if action.arguments else ""
    return f"{action.name} {arguments}".strip() + "."


def _closing(task: Task, ending: str) -> str:
    said = [f"To your question: {info}." for info in task.criteria.communicate_info]
    return " ".join([*said, ending])
