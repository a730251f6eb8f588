"""Retail's worker: casts a customer for a plan's goals, then plays the call at the desk."""

import random
from collections.abc import Mapping, Sequence

from sea_data.synthesis.desk import Desk
from sea_data.synthesis.plan import Plan
from sea_data.synthesis.procedural.errand import Errand
from sea_data.synthesis.procedural.retail import delivered, pending, reading, refusals
from sea_data.synthesis.procedural.retail.errand import Call, MakeErrand
from sea_data.synthesis.procedural.retail.index import (
    DELIVERED,
    PENDING,
    PROCESSED,
    RetailIndex,
)
from sea_data.synthesis.procedural.retail.play import play
from sea_data.synthesis.procedural.voice import Voice
from sea_data.synthesis.proposal import NothingFitsError, Proposal
from sea_env.domains.base import Domain
from sea_env.domains.database import Database

_TRIES = 200

_GOALS: Mapping[str, tuple[MakeErrand, tuple[str, ...]]] = {
    "cancel": (pending.cancel, (PENDING,)),
    "change_address": (pending.address, (PENDING,)),
    "change_items": (pending.items, (PENDING,)),
    "change_payment": (pending.payment, (PENDING,)),
    "change_home": (pending.home, ()),
    "return": (delivered.give_back, (DELIVERED,)),
    "exchange": (delivered.exchange, (DELIVERED,)),
    "ask_total": (reading.total, (PENDING, PROCESSED, DELIVERED)),
    "ask_tracking": (reading.tracking, (PROCESSED, DELIVERED)),
    "ask_price": (reading.cheapest, ()),
    "refuse_cancel": (refusals.too_late_to_cancel, (PROCESSED, DELIVERED)),
    "refuse_return": (refusals.too_early_to_return, (PENDING, PROCESSED)),
    "refuse_reason": (refusals.other_reason, (PENDING,)),
    "refuse_foreign": (refusals.of_another, ()),
    "transfer": (refusals.out_of_scope, ()),
}
"""Each goal's errand, and the states that an order must be in for it (none: no order needed)."""


class RetailWorkshop:
    """`Workshop` of retail."""

    goals: Sequence[str] = tuple(_GOALS)
    most_goals = 3

    def __init__(self, domain: Domain, database: Database) -> None:
        self._domain = domain
        self._database = database
        self._index = RetailIndex(database)

    def fits(self, goals: Sequence[str]) -> bool:
        """A transfer ends the call; one refusal and one move of house are enough for a call."""
        refused = sum(goal.startswith("refuse") for goal in goals)
        return "transfer" not in goals[:-1] and refused <= 1 and goals.count("change_home") <= 1

    def propose(self, plan: Plan, rng: random.Random) -> Proposal:
        call, errands = self._cast(plan, rng)
        return play(Desk(self._domain.open(self._database)), call, errands)

    def _cast(self, plan: Plan, rng: random.Random) -> tuple[Call, list[Errand]]:
        """A customer for whom all goals make sense."""
        reason = "the database has no customer for these goals"
        for _ in range(_TRIES):
            try:
                call = self._call(plan, rng)
                return call, [_GOALS[goal][0](call) for goal in plan.goals]
            except NothingFitsError as error:
                reason = str(error)
        raise NothingFitsError(f"For {' + '.join(plan.goals)}, {reason}.")

    def _call(self, plan: Plan, rng: random.Random) -> Call:
        statuses = next((s for goal in plan.goals if (s := _GOALS[goal][1])), ())
        if statuses:
            able = self._index.by_status.get(rng.choice(statuses))
            if not able:
                raise NothingFitsError(f"no order is {' or '.join(statuses)}")
            user_id = self._index.orders[rng.choice(able)]["user_id"]
        elif self._index.user_ids:
            user_id = rng.choice(self._index.user_ids)
        else:
            raise NothingFitsError("the database has no customer whose name is unique")
        user = self._index.users[user_id]
        return Call(self._index, user, plan.mode, Voice(plan.style, rng))
