"""Converts tau2-bench's files of one domain to the published layout, ready to upload for a job.

    rl.jsonl     tasks      databases/<domain>_db.json|toml, databases/<domain>_user_db.json|toml
    sft.jsonl    dialogues  databases/<domain>_policy.md

Dialogues are written without a model: the agent asks who calls, makes the expected calls one per
turn, has the customer confirm each change, and says what the task wants to be said.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sea_api.v1alpha1.domains import bare
from sea_data.formats import data_files, dialogue, jsonl, rl, tau2
from sea_env.domains.base import Domain, Kind
from sea_env.domains.database import Database
from sea_env.domains.registry import UnknownDomainError
from sea_env.domains.tau2_plugin import PREFIX
from sea_env.episodes.conversation import Over, UserNext, open_conversation
from sea_env.episodes.limits import Limits
from sea_env.tasks.task import Action, Task
from sea_env.tokens.call_formats import call_json
from sea_env.tokens.messages import AgentTurn, ToolCall
from sea_env.users.base import task_user_tools
from sea_env.users.scripted import ScriptedUser
from sea_env.verify.verdict import UnverifiableTaskError, split_verifiable, verify, without_judge

ASK = "Who am I talking to? Please tell me your email, or your name and zip code."
TRANSFERRED = "YOU ARE BEING TRANSFERRED TO A HUMAN AGENT. PLEASE HOLD ON."
_TRANSFER = "transfer_to_human_agents"
_LIMITS = Limits(max_turns=200, max_tokens_per_turn=1, context_length=1)


def play(
    domain: Domain, task: Task, database: Database, policy: str
) -> tuple[list[dict[str, Any]], float]:
    """The dialogue, system prompt first, and its reward without the judge's part."""
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
    # The user may ask on; the closing words are all that is left to say.
    while True:
        yield AgentTurn(_closing(task, "That is all settled. Have a nice day."))


def _words(action: Action) -> str:
    return call_json(action.name, action.arguments)


def _instruction(action: Action) -> str:
    """The call in the form that a scripted user understands."""
    arguments = json.dumps(dict(action.arguments)) if action.arguments else ""
    return f"{action.name} {arguments}".strip() + "."


def _closing(task: Task, ending: str) -> str:
    said = [f"To your question: {info}." for info in task.criteria.communicate_info]
    return " ".join([*said, ending])


@dataclass(frozen=True)
class Converted:
    """`files` maps relative paths to lines; `refused` are the tasks that need a judge."""

    files: dict[str, Iterator[str]]
    refused: list[UnverifiableTaskError]


def convert(
    domain: Domain, folder: Path, *, drop_nl_assertions: bool, judged: bool = False
) -> Converted:
    """Reads the folder at once; makes the lines as they are consumed.

    `judged`: the rows will be scored with a judge model. Raises DatabaseError or RowError naming
    what is missing or wrong in the folder, and UnknownDomainError if tau2-bench has no such domain.
    """
    if domain.policy_file is None:
        raise UnknownDomainError(
            f"The rows that are made for {bare(domain.name)} serve {domain.name} too: name that."
            if domain.name.startswith(PREFIX)
            else f"tau2-bench has no domain {domain.name}: use `sea data shop`."
        )
    database = tau2.database(folder, domain)
    source = tau2.find(folder, "db")
    assert source is not None, "tau2.database has read it"
    db_path = f"databases/{domain.name}_{source.name}"
    policy = tau2.policy(folder)
    user = tau2.find(folder, "user_db") if domain.user_tools else None
    tasks = tau2.tasks(folder, domain.name)
    kept, refused = split_verifiable(
        map(without_judge, tasks) if drop_nl_assertions else tasks, judged=judged
    )
    files = {
        "rl.jsonl": (jsonl.dumps(_row(task, db_path)) for task in kept),
        "sft.jsonl": (jsonl.dumps(_dialogue(domain, t, database, policy)) for t in kept),
        db_path: iter([data_files.text(source)]),
        f"databases/{domain.policy_file}": iter([policy]),
    }
    if user is not None:
        name = f"databases/{domain.name}_{user.name}"
        files[name] = iter([data_files.text(user)])
    return Converted(files, refused)


def _row_id(task: Task) -> str:
    return task.id if task.id.startswith(f"{task.domain}_") else f"{task.domain}_{task.id}"


def _row(task: Task, db_path: str) -> dict[str, Any]:
    criteria = dict(task.row["evaluation_criteria"])
    criteria["reward_basis"] = list(task.criteria.reward_basis)
    if not task.criteria.nl_assertions:
        criteria["nl_assertions"] = None
    purpose = (task.row.get("description") or {}).get("purpose") or ""
    row = rl.task_row(_row_id(task), purpose, _scenario(task), criteria, db_path)
    if task.initial_state:
        row["initial_state"] = dict(task.initial_state)
    if task.row.get("user_tools"):
        row["user_tools"] = task.row["user_tools"]
    return row


def _scenario(task: Task) -> dict[str, Any]:
    """tau2's scenario with its domain, even if the instructions are plain text."""
    return {**task.scenario, "instructions": {"domain": task.domain, **task.instructions}}


def _dialogue(domain: Domain, task: Task, database: Database, policy: str) -> dict[str, Any]:
    messages, reward = play(domain, task, database, policy)
    row_id = f"{_row_id(task)}_sft"
    tools = task.row.get("user_tools") or None
    return dialogue.dialogue_row(row_id, messages, _scenario(task), reward, tools)
