"""The shop's worker: its script, its scripted customer and its teacher, as one `Workshop`."""

import random
from collections.abc import Sequence

from sea_data.synthesis.desk import Desk
from sea_data.synthesis.plan import Plan, ToolMode
from sea_data.synthesis.proposal import NothingFitsError, Proposal
from sea_env.domains.base import Domain
from sea_env.domains.database import Database
from sea_env.domains.shop import database_generator, entities, teacher
from sea_env.domains.shop.domain import CLOSING
from sea_env.domains.shop.scenario import Intent, Opening, Script
from sea_env.users.base import Reply, Signal, spoken
from sea_env.users.scripted import ScriptedUser

_MOST_TURNS = 20
_REFUSED = "refuse_"


class ShopWorkshop:
    """`Workshop` of the shop: one wish a call, granted or refused."""

    goals: Sequence[str] = (
        *(intent.value for intent in Intent),
        *(f"{_REFUSED}{intent.value}" for intent in database_generator.ALLOWED),
    )
    most_goals = 1

    def __init__(self, domain: Domain, database: Database) -> None:
        self._domain = domain
        self._database = database
        self._orders: dict[str, list[str]] = {}
        for key, order in database.agent["orders"].items():
            self._orders.setdefault(order["status"], []).append(key)

    def fits(self, goals: Sequence[str]) -> bool:
        return len(goals) == 1

    def propose(self, plan: Plan, rng: random.Random) -> Proposal:
        script = self._script(plan, rng)
        desk = Desk(self._domain.open(self._database))
        _play(desk, script, rng.getrandbits(32))
        _, info = database_generator.expected(script, {"orders": self._database.agent["orders"]})
        return Proposal(
            purpose=script.reason,
            scenario=script.scenario(),
            actions=desk.actions,
            messages=desk.messages,
            communicate=[*info, CLOSING],
        )

    def _script(self, plan: Plan, rng: random.Random) -> Script:
        goal = plan.goals[0]
        intent = Intent(goal.removeprefix(_REFUSED))
        allowed = database_generator.ALLOWED.get(intent)
        refused = goal.startswith(_REFUSED)
        able = [
            key
            for status, keys in self._orders.items()
            if allowed is None or (status == allowed) != refused
            for key in keys
        ]
        if not able:
            raise NothingFitsError(f"The shop has no order for the goal {goal}.")
        order = self._database.agent["orders"][rng.choice(able)]
        others = [a for a in entities.addresses() if a != order["address"]]
        address = rng.choice(others) if intent is Intent.ADDRESS else ""
        given = (Opening.ORDER, Opening.BOTH) if plan.mode is ToolMode.GIVEN else (Opening.NOTHING,)
        return Script(intent, order["order"], order["email"], address, rng.choice(given))


def _play(desk: Desk, script: Script, seed: int) -> None:
    """The teacher and the scripted customer talk until the customer leaves."""
    user = ScriptedUser(script.scenario(), seed)
    desk.user(_words(user.say(())))
    for _ in range(_MOST_TURNS):
        turn = teacher.turn(desk.messages)
        if turn.tool_calls:
            for call in turn.tool_calls:
                desk.call(call.name, **call.arguments)
            continue
        desk.agent(turn.text)
        said = _words(user.say(spoken(desk.messages)))
        desk.user(said)
        if Signal.STOP in said:
            return
    raise NothingFitsError("The shop's customer did not come to an end.")


def _words(reply: Reply) -> str:
    """The shop gives its customers no tools, so that all they can do is talk."""
    assert isinstance(reply, str)
    return reply
