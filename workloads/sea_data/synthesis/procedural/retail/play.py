"""How a retail customer is identified, and what it knows."""

from collections.abc import Sequence

from sea_data.synthesis.desk import Desk
from sea_data.synthesis.plan import ToolMode
from sea_data.synthesis.procedural import calling
from sea_data.synthesis.procedural.errand import Errand
from sea_data.synthesis.procedural.retail.errand import Call
from sea_data.synthesis.proposal import Proposal

_WHO = (
    "Happy to help. May I have your email address, or your name and zip code?",
    "Of course. To find your account, please tell me your email, or your name and zip code.",
    "I can look into that. Who am I talking to? Your email, or name and zip code, will do.",
)


def play(desk: Desk, call: Call, errands: Sequence[Errand]) -> Proposal:
    """The whole call."""
    by_email = call.rng.random() < 0.5 or not call.index.has_unique_name(call.user["user_id"])
    unknown = [] if by_email else ["You do not remember your email address."]
    if call.mode is ToolMode.SEARCH:
        unknown.append("You do not remember any order number.")
    known = f"You are {_name(call)}, and your zip code is {call.user['address']['zip']}."
    if by_email:
        known += f" Your email is {call.user['email']}."
    scenario = calling.scenario("retail", call.voice, errands, known, unknown)
    return calling.call(desk, call.voice, errands, lambda d: _greet(d, call, by_email), scenario)


def _greet(desk: Desk, call: Call, by_email: bool) -> None:
    user = call.user
    desk.agent(call.rng.choice(_WHO))
    if by_email:
        desk.user(f"My email is {user['email']}.")
        desk.call("find_user_id_by_email", email=user["email"])
        return
    desk.user(f"I am {_name(call)}, zip code {user['address']['zip']}.")
    desk.call(
        "find_user_id_by_name_zip",
        first_name=user["name"]["first_name"],
        last_name=user["name"]["last_name"],
        zip=user["address"]["zip"],
    )


def _name(call: Call) -> str:
    return f"{call.user['name']['first_name']} {call.user['name']['last_name']}"
