"""A retail call from greeting to goodbye, and the task that it is the solution of."""

from collections.abc import Sequence
from typing import Any

from sea_workloads.synthesis.desk import Desk
from sea_workloads.synthesis.plan import ToolMode
from sea_workloads.synthesis.procedural.retail.errand import Call, Errand
from sea_workloads.synthesis.procedural.voice import mine, yours
from sea_workloads.synthesis.proposal import Proposal
from sea_workloads.users.base import Signal

_WHO = (
    "Happy to help. May I have your email address, or your name and zip code?",
    "Of course. To find your account, please tell me your email, or your name and zip code.",
    "I can look into that. Who am I talking to? Your email, or name and zip code, will do.",
)


def play(desk: Desk, call: Call, errands: Sequence[Errand]) -> Proposal:
    """Writes the dialogue and returns the finished proposal."""
    by_email = call.rng.random() < 0.5 or not call.index.has_unique_name(call.user["user_id"])
    desk.user(call.voice.opening(mine(errands[0].wish)))
    desk.agent(call.rng.choice(_WHO))
    desk.user(_introduction(call, by_email))
    _identify(desk, call, by_email)
    for number, errand in enumerate(errands):
        if number:
            desk.user(call.voice.following(mine(errand.wish)))
        closing = errand.settle(desk)
        desk.agent(closing if errand.transfers else f"{closing} {call.voice.anything_else()}")
    desk.user(str(Signal.TRANSFER if errands[-1].transfers else Signal.STOP))
    return Proposal(
        purpose="; ".join(yours(errand.wish) for errand in errands),
        scenario=_scenario(call, errands, by_email),
        actions=desk.actions,
        messages=desk.messages,
        communicate=[piece for errand in errands for piece in errand.communicate],
    )


def _identify(desk: Desk, call: Call, by_email: bool) -> None:
    user = call.user
    if by_email:
        desk.call("find_user_id_by_email", email=user["email"])
        return
    desk.call(
        "find_user_id_by_name_zip",
        first_name=user["name"]["first_name"],
        last_name=user["name"]["last_name"],
        zip=user["address"]["zip"],
    )


def _introduction(call: Call, by_email: bool) -> str:
    user = call.user
    if by_email:
        return f"My email is {user['email']}."
    return f"I am {_name(call)}, zip code {user['address']['zip']}."


def _name(call: Call) -> str:
    return f"{call.user['name']['first_name']} {call.user['name']['last_name']}"


def _scenario(call: Call, errands: Sequence[Errand], by_email: bool) -> dict[str, Any]:
    user = call.user
    known = f"You are {_name(call)}, and your zip code is {user['address']['zip']}."
    if by_email:
        known += f" Your email is {user['email']}."
    unknown = [] if by_email else ["You do not remember your email address."]
    if call.mode is ToolMode.SEARCH:
        unknown.append("You do not remember any order number.")
    wishes = [yours(errand.wish) for errand in errands]
    steps = [f"You want to {wishes[0]}."] + [f"Then you want to {wish}." for wish in wishes[1:]]
    notes = [call.voice.manner, *(errand.note for errand in errands if errand.note)]
    confirm = "When the agent lists what you asked for and asks you to confirm, you say yes."
    return {
        "persona": None,
        "instructions": {
            "domain": "retail",
            "reason_for_call": " ".join(steps),
            "known_info": known,
            "unknown_info": " ".join(unknown) or None,
            "task_instructions": " ".join([*notes, confirm]),
        },
    }
