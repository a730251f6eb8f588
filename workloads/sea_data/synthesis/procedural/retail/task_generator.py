"""Retail's task generator: chooses a customer for a plan's goals, then writes the dialogue."""

import random
from collections.abc import Mapping, Sequence

from sea_data.synthesis.candidate import Candidate, DialogueBuilder, NoCandidateError
from sea_data.synthesis.plan import Plan, ToolMode
from sea_data.synthesis.procedural.goals import Goal, write_dialogue, write_scenario
from sea_data.synthesis.procedural.phrasing import Phrasing
from sea_data.synthesis.procedural.retail import order_goals, read_only_goals
from sea_data.synthesis.procedural.retail.customer_call import (
    DELIVERED,
    PENDING,
    PROCESSED,
    CustomerCall,
    MakeGoal,
    RetailIndex,
)
from sea_env.domains.base import Domain
from sea_env.domains.database import Database

_WHO = (
    "Happy to help. May I have your email address, or your name and zip code?",
    "Of course. To find your account, please tell me your email, or your name and zip code.",
    "I can look into that. Who am I talking to? Your email, or name and zip code, will do.",
)


def _write(dialogue: DialogueBuilder, call: CustomerCall, goals: Sequence[Goal]) -> Candidate:
    by_email = call.rng.random() < 0.5 or not call.index.has_unique_name(call.user["user_id"])
    unknown = [] if by_email else ["You do not remember your email address."]
    if call.mode is ToolMode.SEARCH:
        unknown.append("You do not remember any order number.")
    known = f"You are {_name(call)}, and your zip code is {call.user['address']['zip']}."
    if by_email:
        known += f" Your email is {call.user['email']}."
    scenario = write_scenario("retail", call.phrasing, goals, known, unknown)
    return write_dialogue(
        dialogue, call.phrasing, goals, lambda d: _greet(d, call, by_email), scenario
    )


def _greet(dialogue: DialogueBuilder, call: CustomerCall, by_email: bool) -> None:
    user = call.user
    dialogue.agent(call.rng.choice(_WHO))
    if by_email:
        dialogue.user(f"My email is {user['email']}.")
        dialogue.call("find_user_id_by_email", email=user["email"])
        return
    dialogue.user(f"I am {_name(call)}, zip code {user['address']['zip']}.")
    dialogue.call(
        "find_user_id_by_name_zip",
        first_name=user["name"]["first_name"],
        last_name=user["name"]["last_name"],
        zip=user["address"]["zip"],
    )


def _name(call: CustomerCall) -> str:
    return f"{call.user['name']['first_name']} {call.user['name']['last_name']}"


_MAX_TRIES = 200

_GOALS: Mapping[str, tuple[MakeGoal, tuple[str, ...]]] = {
    "cancel": (order_goals.cancel, (PENDING,)),
    "change_address": (order_goals.address, (PENDING,)),
    "change_items": (order_goals.items, (PENDING,)),
    "change_payment": (order_goals.payment, (PENDING,)),
    "change_home": (order_goals.home, ()),
    "return": (order_goals.give_back, (DELIVERED,)),
    "exchange": (order_goals.exchange, (DELIVERED,)),
    "ask_total": (read_only_goals.total, (PENDING, PROCESSED, DELIVERED)),
    "ask_tracking": (read_only_goals.tracking, (PROCESSED, DELIVERED)),
    "ask_price": (read_only_goals.cheapest, ()),
    "refuse_cancel": (read_only_goals.too_late_to_cancel, (PROCESSED, DELIVERED)),
    "refuse_return": (read_only_goals.too_early_to_return, (PENDING, PROCESSED)),
    "refuse_reason": (read_only_goals.other_reason, (PENDING,)),
    "refuse_foreign": (read_only_goals.of_another, ()),
    "transfer": (read_only_goals.out_of_scope, ()),
}
"""Goals by name, each with the order states that it needs (empty: it needs no order)."""


class RetailTaskGenerator:
    """`TaskGenerator` of retail."""

    goals: Sequence[str] = tuple(_GOALS)
    max_goals = 3

    def __init__(self, domain: Domain, database: Database) -> None:
        self._domain = domain
        self._database = database
        self._index = RetailIndex(database)

    def fits(self, goals: Sequence[str]) -> bool:
        """A transfer ends the call; at most one refusal and one change of the home address."""
        refused = sum(goal.startswith("refuse") for goal in goals)
        return "transfer" not in goals[:-1] and refused <= 1 and goals.count("change_home") <= 1

    def generate(self, plan: Plan, rng: random.Random) -> Candidate:
        call, goals = self._choose_customer(plan, rng)
        return _write(DialogueBuilder(self._domain.open(self._database)), call, goals)

    def _choose_customer(self, plan: Plan, rng: random.Random) -> tuple[CustomerCall, list[Goal]]:
        """A customer whom all goals fit, and the goals; raises NoCandidateError."""
        reason = "the database has no customer for these goals"
        for _ in range(_MAX_TRIES):
            try:
                call = self._call(plan, rng)
                return call, [_GOALS[goal][0](call) for goal in plan.goals]
            except NoCandidateError as error:
                reason = str(error)
        raise NoCandidateError(f"For {' + '.join(plan.goals)}, {reason}.")

    def _call(self, plan: Plan, rng: random.Random) -> CustomerCall:
        statuses = next((s for goal in plan.goals if (s := _GOALS[goal][1])), ())
        if statuses:
            able = self._index.by_status.get(rng.choice(statuses))
            if not able:
                raise NoCandidateError(f"no order is {' or '.join(statuses)}")
            user_id = self._index.orders[rng.choice(able)]["user_id"]
        elif self._index.user_ids:
            user_id = rng.choice(self._index.user_ids)
        else:
            raise NoCandidateError("the database has no customer whose name is unique")
        user = self._index.users[user_id]
        return CustomerCall(self._index, user, plan.mode, Phrasing(plan.style, rng))
