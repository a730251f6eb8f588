"""Airline's task generator: chooses a customer for a plan's goals, then writes the dialogue."""

import random
from collections.abc import Mapping, Sequence

from sea_data.synthesis.candidate import Candidate, DialogueBuilder, NoCandidateError
from sea_data.synthesis.plan import Plan, Style, ToolMode
from sea_data.synthesis.procedural.airline import booking_goals, change_goals
from sea_data.synthesis.procedural.airline.customer_call import AirlineIndex, CustomerCall, MakeGoal
from sea_data.synthesis.procedural.goals import Goal, write_dialogue, write_scenario
from sea_data.synthesis.procedural.phrasing import Phrasing
from sea_env.domains.base import Domain
from sea_env.domains.database import Database

_MAX_TRIES = 300

_GOALS: Mapping[str, MakeGoal] = {
    "cancel": booking_goals.cancel,
    "add_bags": change_goals.bags,
    "upgrade": change_goals.cabin,
    "change_date": change_goals.date,
    "correct_name": change_goals.passenger,
    "book": booking_goals.book,
    "ask_price": booking_goals.price,
    "certificate": booking_goals.certificate,
    "refuse_cancel": booking_goals.refuse_cancel,
    "refuse_basic": change_goals.refuse_basic,
    "refuse_insurance": change_goals.refuse_insurance,
    "refuse_fewer": change_goals.refuse_fewer,
    "refuse_certificate": booking_goals.refuse_certificate,
    "transfer_begun": booking_goals.transfer_begun,
}
_WHO = (
    "Happy to help. May I have your user id?",
    "Of course. Please tell me your user id first.",
    "I can look into that. What is your user id?",
)
_ONCE = ("book", "certificate")
"""Goals whose tools number what they create: twice in a call, the order would matter."""


class AirlineTaskGenerator:
    """`TaskGenerator` of airline."""

    goals: Sequence[str] = tuple(_GOALS)
    max_goals = 3

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

    def generate(self, plan: Plan, rng: random.Random) -> Candidate:
        call, goals = self._choose_customer(plan, rng)
        unknown = ["You do not remember any reservation id."]
        scenario = write_scenario(
            "airline",
            call.phrasing,
            goals,
            f"You are {_name(call)}, born on {call.user['dob']}. Your user id is "
            f"{call.user['user_id']}.",
            unknown if plan.mode is ToolMode.SEARCH else (),
        )
        dialogue = DialogueBuilder(self._domain.open(self._database))
        return write_dialogue(dialogue, call.phrasing, goals, lambda d: _greet(d, call), scenario)

    def _choose_customer(self, plan: Plan, rng: random.Random) -> tuple[CustomerCall, list[Goal]]:
        """A customer whom all goals fit, and the goals; raises NoCandidateError."""
        reason = "the database has no customer for these goals"
        for user_id in self._candidates(plan.goals[0], rng):
            call = CustomerCall(
                self._index, self._index.users[user_id], plan.mode, Phrasing(plan.style, rng)
            )
            try:
                return call, [_GOALS[goal](call) for goal in plan.goals]
            except NoCandidateError as error:
                reason = str(error)
        raise NoCandidateError(f"For {' + '.join(plan.goals)}, {reason}.")

    def _candidates(self, goal: str, rng: random.Random) -> list[str]:
        """Customers whom the first goal fits, in random order."""
        if goal not in self._able:
            self._able[goal] = [user for user in self._index.user_ids if self._can(user, goal)]
        able = self._able[goal]
        return rng.sample(able, min(_MAX_TRIES, len(able)))

    def _can(self, user_id: str, goal: str) -> bool:
        phrasing = Phrasing(Style.TERSE, random.Random(0))  # noqa: S311 - a trial, not a draw
        call = CustomerCall(self._index, self._index.users[user_id], ToolMode.GIVEN, phrasing)
        try:
            _GOALS[goal](call)
        except NoCandidateError:
            return False
        return True


def _greet(dialogue: DialogueBuilder, call: CustomerCall) -> None:
    dialogue.agent(call.rng.choice(_WHO))
    dialogue.user(f"My user id is {call.user['user_id']}.")
    dialogue.call("get_user_details", user_id=call.user["user_id"])


def _name(call: CustomerCall) -> str:
    return f"{call.user['name']['first_name']} {call.user['name']['last_name']}"
