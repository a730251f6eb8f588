"""Airline's worker: casts a customer for a plan's goals, then plays the call at the desk."""

import random
from collections.abc import Mapping, Sequence

from sea_data.synthesis.desk import Desk
from sea_data.synthesis.plan import Plan, Style, ToolMode
from sea_data.synthesis.procedural import calling
from sea_data.synthesis.procedural.airline import booking, changing, ending
from sea_data.synthesis.procedural.airline.index import AirlineIndex
from sea_data.synthesis.procedural.airline.scene import Call, MakeErrand
from sea_data.synthesis.procedural.errand import Errand
from sea_data.synthesis.procedural.voice import Voice
from sea_data.synthesis.proposal import NothingFitsError, Proposal
from sea_env.domains.base import Domain
from sea_env.domains.database import Database

_TRIES = 300

_GOALS: Mapping[str, MakeErrand] = {
    "cancel": ending.cancel,
    "add_bags": changing.bags,
    "upgrade": changing.cabin,
    "change_date": changing.date,
    "correct_name": changing.passenger,
    "book": booking.book,
    "ask_price": booking.price,
    "certificate": ending.certificate,
    "refuse_cancel": ending.refuse_cancel,
    "refuse_basic": changing.refuse_basic,
    "refuse_insurance": changing.refuse_insurance,
    "refuse_fewer": changing.refuse_fewer,
    "refuse_certificate": ending.refuse_certificate,
    "transfer_begun": ending.transfer_begun,
}
_WHO = (
    "Happy to help. May I have your user id?",
    "Of course. Please tell me your user id first.",
    "I can look into that. What is your user id?",
)
_ONCE = ("book", "certificate")
"""Goals whose tools number what they make: twice in a call, the order would matter."""


class AirlineWorkshop:
    """`Workshop` of airline."""

    goals: Sequence[str] = tuple(_GOALS)
    most_goals = 3

    def __init__(self, domain: Domain, database: Database) -> None:
        self._domain = domain
        self._database = database
        self._index = AirlineIndex(database)
        self._able: dict[str, list[str]] = {}

    def fits(self, goals: Sequence[str]) -> bool:
        """A transfer ends the call; one refusal in a call is enough."""
        refused = sum(goal.startswith("refuse") for goal in goals)
        once = all(goals.count(goal) <= 1 for goal in _ONCE)
        return "transfer_begun" not in goals[:-1] and refused <= 1 and once

    def propose(self, plan: Plan, rng: random.Random) -> Proposal:
        call, errands = self._cast(plan, rng)
        unknown = ["You do not remember any reservation id."]
        scenario = calling.scenario(
            "airline",
            call.voice,
            errands,
            f"You are {_name(call)}, born on {call.user['dob']}. Your user id is "
            f"{call.user['user_id']}.",
            unknown if plan.mode is ToolMode.SEARCH else (),
        )
        desk = Desk(self._domain.open(self._database))
        return calling.call(desk, call.voice, errands, lambda d: _greet(d, call), scenario)

    def _cast(self, plan: Plan, rng: random.Random) -> tuple[Call, list[Errand]]:
        """A customer for whom all goals make sense."""
        reason = "the database has no customer for these goals"
        for user_id in self._candidates(plan.goals[0], rng):
            call = Call(self._index, self._index.users[user_id], plan.mode, Voice(plan.style, rng))
            try:
                return call, [_GOALS[goal](call) for goal in plan.goals]
            except NothingFitsError as error:
                reason = str(error)
        raise NothingFitsError(f"For {' + '.join(plan.goals)}, {reason}.")

    def _candidates(self, goal: str, rng: random.Random) -> list[str]:
        """Customers to try, in random order; those for whom the first goal can make sense."""
        if goal not in self._able:
            self._able[goal] = [user for user in self._index.user_ids if self._can(user, goal)]
        able = self._able[goal]
        return rng.sample(able, min(_TRIES, len(able)))

    def _can(self, user_id: str, goal: str) -> bool:
        voice = Voice(Style.TERSE, random.Random(0))  # noqa: S311 - a trial, not a draw
        call = Call(self._index, self._index.users[user_id], ToolMode.GIVEN, voice)
        try:
            _GOALS[goal](call)
        except NothingFitsError:
            return False
        return True


def _greet(desk: Desk, call: Call) -> None:
    desk.agent(call.rng.choice(_WHO))
    desk.user(f"My user id is {call.user['user_id']}.")
    desk.call("get_user_details", user_id=call.user["user_id"])


def _name(call: Call) -> str:
    return f"{call.user['name']['first_name']} {call.user['name']['last_name']}"
