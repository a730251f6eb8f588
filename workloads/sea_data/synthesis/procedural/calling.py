"""A call from greeting to goodbye, and the task that it is the solution of: the same everywhere."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sea_data.synthesis.desk import Desk
from sea_data.synthesis.procedural.errand import Errand
from sea_data.synthesis.procedural.voice import Voice, mine, yours
from sea_data.synthesis.proposal import Proposal
from sea_env.users.base import Signal

TRANSFERRED = "YOU ARE BEING TRANSFERRED TO A HUMAN AGENT. PLEASE HOLD ON."
ACCEPTS = "If the agent says that this isn't possible, you accept it and ask for nothing instead."
CONFIRMS = "When the agent lists what you asked for and asks you to confirm, you say yes."


def call(
    desk: Desk,
    voice: Voice,
    errands: Sequence[Errand],
    greet: Callable[[Desk], None],
    scenario: Mapping[str, Any],
) -> Proposal:
    """Writes the dialogue. `greet` is how the agent finds out who calls."""
    desk.user(voice.opening(mine(errands[0].wish)))
    greet(desk)
    for number, errand in enumerate(errands):
        if number:
            desk.user(voice.following(mine(errand.wish)))
        closing = errand.settle(desk)
        desk.agent(closing if errand.transfers else f"{closing} {voice.anything_else()}")
    desk.user(str(Signal.TRANSFER if errands[-1].transfers else Signal.STOP))
    return Proposal(
        purpose="; ".join(yours(errand.wish) for errand in errands),
        scenario=scenario,
        actions=desk.actions,
        messages=desk.messages,
        communicate=[piece for errand in errands for piece in errand.communicate],
    )


def scenario(
    domain: str, voice: Voice, errands: Sequence[Errand], known: str, unknown: Sequence[str] = ()
) -> dict[str, Any]:
    """`user_scenario`: everything that whoever plays the customer decides is decided in it."""
    wishes = [yours(errand.wish) for errand in errands]
    steps = [f"You want to {wishes[0]}."] + [f"Then you want to {wish}." for wish in wishes[1:]]
    notes = [errand.note for errand in errands if errand.note]
    return {
        "persona": None,
        "instructions": {
            "domain": domain,
            "reason_for_call": " ".join(steps),
            "known_info": known,
            "unknown_info": " ".join(unknown) or None,
            "task_instructions": " ".join([voice.manner, *notes, CONFIRMS]),
        },
    }


def refused(
    wish: str, why: str, look: Callable[[Desk], object], voice: Voice, note: str = ""
) -> Errand:
    """An errand that the policy forbids: the agent looks, explains and changes nothing."""

    def settle(desk: Desk) -> str:
        look(desk)
        desk.agent(f"I am sorry, but I can't do that. {why} {voice.anything_else()}")
        desk.user(voice.resigned())
        return "I am sorry that I couldn't do more about it."

    return Errand(wish, settle, note=f"{note} {ACCEPTS}".strip())


def transferred(
    wish: str, look: Callable[[Desk], object] = lambda desk: None, note: str = ""
) -> Errand:
    """An errand that a person has to take over."""

    def settle(desk: Desk) -> str:
        look(desk)
        summary = f"The customer wants to {wish.replace('{my}', 'their').replace('{I}', 'they')}."
        desk.call("transfer_to_human_agents", summary=summary)
        return TRANSFERRED

    return Errand(wish, settle, note=note, transfers=True)
