"""Goals of a customer, and the dialogue and scenario that are written from them.

The task generators of airline, mock, retail and telecom make `Goal` objects for the goal names of a
plan and hand them to `write_scenario` and `write_dialogue`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sea_data.synthesis.candidate import Candidate, DialogueBuilder
from sea_data.synthesis.procedural.phrasing import Phrasing, mine, yours
from sea_env.users.base import Signal


@dataclass(frozen=True)
class Goal:
    """One thing that the customer wants, and how the agent resolves it."""

    request: str
    """What follows "I want to"; `{my}`, `{me}` and `{I}` stand for the customer."""
    resolve: Callable[[DialogueBuilder], str]
    """Writes the agent's part of the dialogue; returns its closing sentence."""
    communicate: tuple[str, ...] = ()
    """What the agent must say."""
    note: str = ""
    """Instructions for the user model beyond the request."""
    transfers: bool = False
    """True if the agent hands the customer to a person, which ends the dialogue."""


TRANSFERRED = "YOU ARE BEING TRANSFERRED TO A HUMAN AGENT. PLEASE HOLD ON."
ACCEPTS = "If the agent says that this isn't possible, you accept it and ask for nothing instead."
CONFIRMS = "When the agent lists what you asked for and asks you to confirm, you say yes."


def write_dialogue(
    dialogue: DialogueBuilder,
    phrasing: Phrasing,
    goals: Sequence[Goal],
    greet: Callable[[DialogueBuilder], None],
    scenario: Mapping[str, Any],
) -> Candidate:
    """Writes the dialogue to the end; in `greet` the agent identifies the customer."""
    dialogue.user(phrasing.opening(mine(goals[0].request)))
    greet(dialogue)
    for number, goal in enumerate(goals):
        if number:
            dialogue.user(phrasing.following(mine(goal.request)))
        closing = goal.resolve(dialogue)
        dialogue.agent(closing if goal.transfers else f"{closing} {phrasing.anything_else()}")
    dialogue.user(str(Signal.TRANSFER if goals[-1].transfers else Signal.STOP))
    return Candidate(
        purpose="; ".join(yours(goal.request) for goal in goals),
        scenario=scenario,
        actions=dialogue.actions,
        messages=dialogue.messages,
        communicate=[piece for goal in goals for piece in goal.communicate],
    )


def write_scenario(
    domain: str, phrasing: Phrasing, goals: Sequence[Goal], known: str, unknown: Sequence[str] = ()
) -> dict[str, Any]:
    """The row's `user_scenario`, which fixes all decisions of the customer."""
    requests = [yours(goal.request) for goal in goals]
    steps = [f"You want to {requests[0]}."] + [
        f"Then you want to {request}." for request in requests[1:]
    ]
    notes = [goal.note for goal in goals if goal.note]
    return {
        "persona": None,
        "instructions": {
            "domain": domain,
            "reason_for_call": " ".join(steps),
            "known_info": known,
            "unknown_info": " ".join(unknown) or None,
            "task_instructions": " ".join([phrasing.manner, *notes, CONFIRMS]),
        },
    }


def refused(
    request: str,
    why: str,
    look: Callable[[DialogueBuilder], object],
    phrasing: Phrasing,
    note: str = "",
) -> Goal:
    """A goal that the policy forbids: the agent looks it up, explains and changes nothing."""

    def resolve(dialogue: DialogueBuilder) -> str:
        look(dialogue)
        dialogue.agent(f"I am sorry, but I can't do that. {why} {phrasing.anything_else()}")
        dialogue.user(phrasing.resigned())
        return "I am sorry that I couldn't do more about it."

    return Goal(request, resolve, note=f"{note} {ACCEPTS}".strip())


def transferred(
    request: str, look: Callable[[DialogueBuilder], object] = lambda dialogue: None, note: str = ""
) -> Goal:
    """A goal that needs a human agent: ends with a transfer."""

    def resolve(dialogue: DialogueBuilder) -> str:
        look(dialogue)
        summary = (
            f"The customer wants to {request.replace('{my}', 'their').replace('{I}', 'they')}."
        )
        dialogue.call("transfer_to_human_agents", summary=summary)
        return TRANSFERRED

    return Goal(request, resolve, note=note, transfers=True)
