"""The checkers that are models: of a task before it is played, and of a dialogue that was played.

They see what execution found out and say who is to blame; where they talk nonsense, what execution
found out decides alone.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sea_data.synthesis.agents.asking import Messages, NonsenseError, ask, text_of
from sea_data.synthesis.agents.endpoint import Endpoint, Meter
from sea_data.synthesis.outcome import Blame, Failure
from sea_data.synthesis.plan import Plan
from sea_data.synthesis.proposal import Message, Proposal
from sea_data.synthesis.worlds import World

TASK_CHECKER = "You are the task checker of a data synthesis team."
DIALOGUE_CHECKER = "You are the trajectory checker of a data synthesis team."
_NO_REASON = "The checker gave no reason."
_LONGEST = 60_000


async def check_task(
    endpoint: Endpoint, world: World, plan: Plan, given: Proposal, meter: Meter
) -> Failure | None:
    """None where the task is sound."""
    content = (
        f"{_task(given)}\nThe actions were executed without an error. Is the task clear, allowed "
        "by the policy, and are these actions the only right ones for what the customer says and "
        f"knows? {plan.evaluation}\n"
        'Answer with one JSON object: {"ok": true or false, "reason": ...}'
    )
    try:
        reason = await ask(endpoint, _messages(TASK_CHECKER, world, content), _opinion, meter)
    except NonsenseError:
        return None
    return Failure(Blame.TASK, reason) if reason else None


async def check_dialogue(
    endpoint: Endpoint,
    world: World,
    plan: Plan,
    given: Proposal,
    messages: Sequence[Message],
    problem: str,
    meter: Meter,
) -> Failure | None:
    """None where the dialogue is good. `problem`: what execution found wrong, or empty."""
    found = problem or "The dialogue reaches the expected end state."
    content = (
        f"{_task(given)}\nThe dialogue:\n{json.dumps(messages)[:_LONGEST]}\n"
        f"Execution says: {found}\nDid the agent follow the policy, and did the customer play its "
        f"part? {plan.evaluation}\n"
        'Answer with one JSON object: {"ok": true or false, "blame": "task" or "trajectory", '
        '"reason": ...}. Blame the task where no agent could have succeeded.'
    )
    asked = _messages(DIALOGUE_CHECKER, world, content)

    def use(value: dict[str, Any]) -> Failure | None:
        reason = _opinion(value)
        if not problem and not reason:
            return None
        return Failure(Blame(value.get("blame") or Blame.TRAJECTORY), reason or problem)

    try:
        return await ask(endpoint, asked, use, meter)
    except NonsenseError:
        return Failure(Blame.TRAJECTORY, problem) if problem else None


def _opinion(value: dict[str, Any]) -> str:
    """What the checker objects to; empty where it agrees."""
    if not isinstance(value.get("ok"), bool):
        raise ValueError("ok must be true or false")
    return "" if value["ok"] else text_of(value, "reason") or _NO_REASON


def _task(given: Proposal) -> str:
    shown = {
        "customer": given.scenario,
        "expected actions": [asdict(action) for action in given.actions],
        "must be said": list(given.communicate),
    }
    return f"The task:\n{json.dumps(shown)}"


def _messages(role: str, world: World, content: str) -> Messages:
    system = f"{role} The agent's instructions, policy and tools:\n{world.system_prompt}"
    return [{"role": "system", "content": system}, {"role": "user", "content": content}]
