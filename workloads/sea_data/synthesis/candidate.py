"""A candidate: a task with a dialogue that solves it, made by real tool calls, not yet checked.

Task generators and model agents hand candidates to `execution_checks`, which turns those that pass
into the rows of an `Accepted` item.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sea_data.formats import dialogue, rl
from sea_data.synthesis.item import TaskFaultError
from sea_env.tasks.task import Action, Assertion

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
