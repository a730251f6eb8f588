"""The shop's task generator: the scripted customer and the teacher write the dialogue."""

import random
from collections.abc import Sequence

from sea_data.synthesis.candidate import Candidate, DialogueBuilder, NoCandidateError
from sea_data.synthesis.plan import Plan, ToolMode
from sea_env.domains.base import Domain
from sea_env.domains.database import Database
from sea_env.domains.shop import database_generator, entities, teacher
from sea_env.domains.shop.domain import CLOSING
from sea_env.domains.shop.scenario import Intent, Opening, Script
from sea_env.users.base import Reply, Signal, spoken
from sea_env.users.scripted import ScriptedUser

_MAX_TURNS = 20
_REFUSED = "refuse_"


class ShopTaskGenerator:
    """`TaskGenerator` of the shop: one request per dialogue, granted or refused."""

    goals: Sequence[str] = (
        *(intent.value for intent in Intent),
        *(f"{_REFUSED}{intent.value}" for intent in database_generator.ALLOWED),
    )
    max_goals = 1

    def __init__(self, domain: Domain, database: Database) -> None:
        self._domain = domain
        self._database = database
        self._orders: dict[str, list[str]] = {}
        for key, order in database.agent["orders"].items():
            self._orders.setdefault(order["status"], []).append(key)

    def fits(self, goals: Sequence[str]) -> bool:
        return len(goals) == 1

    def generate(self, plan: Plan, rng: random.Random) -> Candidate:
        script = self._script(plan, rng)
        dialogue = DialogueBuilder(self._domain.open(self._database))
        _play(dialogue, script, rng.getrandbits(32))
        _, info = database_generator.expected(script, {"orders": self._database.agent["orders"]})
        return Candidate(
            purpose=script.reason,
            scenario=script.scenario(),
            actions=dialogue.actions,
            messages=dialogue.messages,
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
            raise NoCandidateError(f"The shop has no order for the goal {goal}.")
        order = self._database.agent["orders"][rng.choice(able)]
        others = [a for a in entities.addresses() if a != order["address"]]
        address = rng.choice(others) if intent is Intent.ADDRESS else ""
        given = (Opening.ORDER, Opening.BOTH) if plan.mode is ToolMode.GIVEN else (Opening.NOTHING,)
        return Script(intent, order["order"], order["email"], address, rng.choice(given))


def _play(dialogue: DialogueBuilder, script: Script, seed: int) -> None:
    """The teacher and the scripted customer talk until the customer leaves."""
    user = ScriptedUser(script.scenario(), seed)
    dialogue.user(_words(user.say(())))
    for _ in range(_MAX_TURNS):
        turn = teacher.turn(dialogue.messages)
        if turn.tool_calls:
            for call in turn.tool_calls:
                dialogue.call(call.name, **call.arguments)
            continue
        dialogue.agent(turn.text)
        said = _words(user.say(spoken(dialogue.messages)))
        dialogue.user(said)
        if Signal.STOP in said:
            return
    raise NoCandidateError("The shop's customer did not leave within the turn limit.")


def _words(reply: Reply) -> str:
    """The shop's customers have no tools, so each reply is a text."""
    assert isinstance(reply, str)
    return reply
