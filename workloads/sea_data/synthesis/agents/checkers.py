"""The checkers that are models: of a task before it is played, and of a played dialogue.

They see the result of execution and say who is to blame. If their reply is unusable, the result of
execution decides alone.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sea_data.synthesis.agents.model_client import (
    Messages,
    ModelClient,
    TokenMeter,
    UnusableReplyError,
    ask_json,
    text_of,
)
from sea_data.synthesis.candidate import Candidate, Message
from sea_data.synthesis.plan import Blame, Failure, Plan
from sea_data.synthesis.source_database import SourceDatabase

TASK_CHECKER = "You are the task checker of a data synthesis team."
DIALOGUE_CHECKER = "You are the trajectory checker of a data synthesis team."
_NO_REASON = "The checker gave no reason."
_MAX_DIALOGUE = 60_000
"""Characters of a dialogue in a prompt."""


async def check_task(
    client: ModelClient, source: SourceDatabase, plan: Plan, candidate: Candidate, meter: TokenMeter
) -> Failure | None:
    """None if the task is sound."""
    content = (
        f"{_task(candidate)}\nThe actions were executed without an error. Is the task clear, "
        "allowed by the policy, and are these actions the only right ones for what the customer "
        f"says and knows? {plan.evaluation}\n"
        'Answer with one JSON object: {"ok": true or false, "reason": ...}'
    )
    try:
        reason = await ask_json(client, _messages(TASK_CHECKER, source, content), _opinion, meter)
    except UnusableReplyError:
        return None
    return Failure(Blame.TASK, reason) if reason else None


async def check_dialogue(
    client: ModelClient,
    source: SourceDatabase,
    plan: Plan,
    candidate: Candidate,
    messages: Sequence[Message],
    problem: str,
    meter: TokenMeter,
) -> Failure | None:
    """None if the dialogue is good. `problem` is what execution found wrong, or empty."""
    found = problem or "The dialogue reaches the expected end state."
    content = (
        f"{_task(candidate)}\nThe dialogue:\n{json.dumps(messages)[:_MAX_DIALOGUE]}\n"
        f"Execution says: {found}\nDid the agent follow the policy, and did the customer play its "
        f"part? {plan.evaluation}\n"
        'Answer with one JSON object: {"ok": true or false, "blame": "task" or "trajectory", '
        '"reason": ...}. Blame the task where no agent could have succeeded.'
    )
    asked = _messages(DIALOGUE_CHECKER, source, content)

    def use(value: dict[str, Any]) -> Failure | None:
        reason = _opinion(value)
        if not problem and not reason:
            return None
        return Failure(Blame(value.get("blame") or Blame.TRAJECTORY), reason or problem)

    try:
        return await ask_json(client, asked, use, meter)
    except UnusableReplyError:
        return Failure(Blame.TRAJECTORY, problem) if problem else None


def _opinion(value: dict[str, Any]) -> str:
    """The checker's objection; empty if it agrees."""
    if not isinstance(value.get("ok"), bool):
        raise ValueError("ok must be true or false")
    return "" if value["ok"] else text_of(value, "reason") or _NO_REASON


def _task(candidate: Candidate) -> str:
    shown = {
        "customer": candidate.scenario,
        "expected actions": [asdict(action) for action in candidate.actions],
        "must be said": list(candidate.communicate),
    }
    return f"The task:\n{json.dumps(shown)}"


def _messages(role: str, source: SourceDatabase, content: str) -> Messages:
    system = f"{role} The agent's instructions, policy and tools:\n{source.system_prompt}"
    return [{"role": "system", "content": system}, {"role": "user", "content": content}]
