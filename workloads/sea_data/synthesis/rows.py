"""A proposal as rows of the published layout, and provenance for both."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sea_data.formats import rows
from sea_data.synthesis.plan import Item
from sea_data.synthesis.proposal import Proposal
from sea_env.tasks.task import Action, Assertion

PROVENANCE = "provenance"


def task_row(identity: str, given: Proposal, db_path: str) -> dict[str, Any]:
    """The `rl` row, still without its verification function and provenance."""
    criteria: dict[str, Any] = {
        "actions": [_action(action) for action in given.actions],
        "communicate_info": list(given.communicate),
        "reward_basis": list(given.basis),
    }
    if given.assertions:
        criteria["env_assertions"] = [_assertion(one) for one in given.assertions]
    row = rows.task_row(identity, given.purpose, given.scenario, criteria, db_path)
    if given.initial_state:
        row["initial_state"] = dict(given.initial_state)
    return row


def dialogue_row(identity: str, given: Proposal) -> dict[str, Any]:
    """The `sft` row of the whole dialogue; the system message is filled in by `output`."""
    system = {"role": "system", "content": ""}
    return rows.dialogue_row(identity, [system, *given.messages], given.scenario, 1.0)


def provenance(item: Item, model: str) -> dict[str, Any]:
    """Where a row comes from."""
    return {
        "plan": item.plan.id,
        "revision": item.plan.revision,
        "goals": list(item.plan.goals),
        "round": item.round,
        "item": item.key,
        "seed": item.seed,
        "model": model,
    }


def dumps(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"))


def _action(action: Action) -> dict[str, Any]:
    found = {"name": action.name, "arguments": dict(action.arguments)}
    return found if action.requestor == "assistant" else {**found, "requestor": action.requestor}


def _assertion(given: Assertion) -> dict[str, Any]:
    return asdict(given)
