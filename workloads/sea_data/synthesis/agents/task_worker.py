"""The task worker: explores a real database with the real tools, then writes the task.

Each reply is one call, which is executed, or the finished task. `execution_checks` runs the task's
expected actions again on a fresh database.
"""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sea_data.synthesis.agents.model_client import (
    Messages,
    ModelClient,
    TokenMeter,
    ask_json,
    text_of,
    texts_of,
)
from sea_data.synthesis.candidate import Candidate
from sea_data.synthesis.plan import Item, Plan, TaskFaultError
from sea_data.synthesis.source_database import SourceDatabase
from sea_env.tasks.task import Action, Assertion

WORKER = "You are the task worker of a data synthesis team."
_MAX_CALLS = 30
_MAX_SHOWN = 6000
"""Characters of a tool's result, or of a record, in a prompt."""
_SAMPLES_PER_TABLE = 2
_FORMAT = (
    'Answer with one JSON object: {"call": {"name": ..., "arguments": {...}}} to try a tool on '
    'the database, or {"task": {"purpose": ..., "reason_for_call": ..., "known_info": ..., '
    '"unknown_info": ..., "task_instructions": ..., "communicate_info": ["what the agent must '
    'say", ...], "actions": [{"name": ..., "arguments": {...}}, ...]}} when you are done. The '
    "actions are the calls of a correct agent, in order; texts speak to the customer as 'you'."
)
_TWO_SIDED = (
    ' The customer has tools too: give "requestor": "user" with its calls and actions. The task '
    'may hold "initial_actions": [{"env_type": "user" or "assistant", "func_name": ..., '
    '"arguments": {...}}, ...], which are run before the dialogue (functions: %s), and '
    '"assertions": [{"func_name": ..., "arguments": {...}}, ...] about the end (known: %s).'
)


class NoTaskError(TaskFaultError):
    """The worker wrote no task."""


@dataclass(frozen=True)
class Step:
    """One reply: a call, or the task."""

    call: Action | None = None
    task: Candidate | None = None


async def write(
    client: ModelClient, source: SourceDatabase, item: Item, seed: int, meter: TokenMeter
) -> Candidate:
    """A candidate without a dialogue.

    Raises:
        NoTaskError: it made `_MAX_CALLS` calls and no task.
        UnusableReplyError, BackendUnavailableError: see `ask_json`.
    """
    # One environment per item: the worker's calls change it, never the source.
    environment = source.domain.open(source.database)
    messages = _opening(source, item)

    def use(value: dict[str, Any]) -> Step:
        return read(value, item.plan)

    for _ in range(_MAX_CALLS):
        step = await ask_json(client, messages, use, meter, temperature=1.0, seed=seed)
        if step.task is not None:
            return step.task
        assert step.call is not None
        call = step.call
        result = environment.call(call.name, call.arguments, call.requestor)
        messages.append({"role": "user", "content": f"Result: {result.content[:_MAX_SHOWN]}"})
    raise NoTaskError(f"The worker made {_MAX_CALLS} calls and wrote no task.")


def _opening(source: SourceDatabase, item: Item) -> Messages:
    plan = item.plan
    system = (
        f"{WORKER} You write one customer service task for the domain {source.domain.name}. The "
        f"agent's instructions, policy and tools:\n{source.system_prompt}\n\n{_FORMAT}"
    )
    if source.domain.user_tools:
        functions = [tool.name for tool in source.domain.user_tools]
        functions += sorted(source.domain.functions)
        system += _TWO_SIDED % (", ".join(functions), ", ".join(sorted(source.domain.assertions)))
    request = (
        f"Plan: goals {', '.join(plan.goals)}; the customer {_MODES[plan.mode]}; style "
        f"{plan.style}. {plan.guidance}\nSome records to begin with:\n{_sample(source, item)}"
    )
    return [{"role": "system", "content": system}, {"role": "user", "content": request}]


_MODES = {"given": "knows all ids", "search": "knows no ids and describes things in words"}


def _sample(source: SourceDatabase, item: Item) -> str:
    """Records drawn by the item's seed, so that items of one plan are about different people."""
    rng = random.Random(item.random_seed)  # noqa: S311 - data, not secrets
    lines = []
    for name, table in source.database.agent.items():
        keys = rng.sample(list(table), min(_SAMPLES_PER_TABLE, len(table)))
        lines += [f"{name}/{key}: {json.dumps(table[key])[:_MAX_SHOWN]}" for key in keys]
    return "\n".join(lines)[: 2 * _MAX_SHOWN]


def read(value: dict[str, Any], plan: Plan) -> Step:
    """Reads a reply's object; raises one of `model_client.UNUSABLE`."""
    if isinstance(value.get("call"), dict):
        return Step(call=_action(value["call"]))
    if isinstance(value.get("task"), dict):
        return Step(task=_candidate(value["task"], plan))
    raise ValueError("it must hold either 'call' or 'task', an object")


def _action(value: Any) -> Action:
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        raise ValueError("an action needs a name")
    arguments = value.get("arguments") or {}
    if not isinstance(arguments, dict):
        raise ValueError("arguments must be an object")
    requestor = "user" if value.get("requestor") == "user" else "assistant"
    return Action(value["name"], arguments, requestor)


def _candidate(value: dict[str, Any], plan: Plan) -> Candidate:
    actions = value.get("actions")
    if not isinstance(actions, list):
        raise ValueError("actions must be a list")
    if not text_of(value, "reason_for_call"):
        raise ValueError("reason_for_call must not be empty")
    initial, assertions = _objects(value, "initial_actions"), _assertions(value)
    names = ("reason_for_call", "known_info", "unknown_info", "task_instructions")
    instructions = {name: text_of(value, name) or None for name in names}
    return Candidate(
        purpose=text_of(value, "purpose") or " + ".join(plan.goals),
        scenario={"persona": None, "instructions": {"domain": plan.domain, **instructions}},
        actions=[_action(action) for action in actions],
        messages=(),
        communicate=[text for text in texts_of(value, "communicate_info") if text.strip()],
        assertions=assertions,
        initial_state={"initialization_actions": initial} if initial else None,
        # Assertions can be met in several ways, so as in tau2's telecom no databases are compared.
        basis=("ENV_ASSERTION", "COMMUNICATE") if assertions else ("DB", "COMMUNICATE"),
    )


def _objects(value: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = value.get(name) or []
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValueError(f"{name} must be a list of objects")
    return found


def _assertions(value: dict[str, Any]) -> list[Assertion]:
    return [
        Assertion(text_of(one, "func_name"), one.get("arguments") or {}, "user")
        for one in _objects(value, "assertions")
    ]
