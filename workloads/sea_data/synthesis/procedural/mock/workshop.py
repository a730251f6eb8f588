"""Mock's worker: a plan's goals become errands of one call, some of which begin in the inbox."""

import random
from collections.abc import Sequence
from dataclasses import replace

from sea_data.synthesis.beginning import begin
from sea_data.synthesis.desk import Desk
from sea_data.synthesis.plan import Plan, ToolMode
from sea_data.synthesis.procedural import calling
from sea_data.synthesis.procedural.errand import Errand
from sea_data.synthesis.procedural.mock.errands import GOALS, INBOX
from sea_data.synthesis.procedural.mock.scene import Call, Team
from sea_data.synthesis.procedural.voice import Voice
from sea_data.synthesis.proposal import NothingFitsError, Proposal
from sea_env.domains.base import Domain
from sea_env.domains.database import Database

_TRIES = 20
_KNOWN = "You keep a team's task list together with the agent, and have an inbox of notifications."
_NO_IDS = "You know no user's and no task's id, unless a notification tells you."


class MockWorkshop:
    """`Workshop` of mock."""

    goals: Sequence[str] = tuple(GOALS)
    most_goals = 3

    def __init__(self, domain: Domain, database: Database) -> None:
        self._domain = domain
        self._database = database
        self._team = Team(database)

    def fits(self, goals: Sequence[str]) -> bool:
        """A transfer ends the call; one refusal and one notification are enough for a call."""
        refused = sum(goal.startswith("refuse") for goal in goals)
        noticed = sum(goal in INBOX for goal in goals)
        return "transfer" not in goals[:-1] and refused <= 1 and noticed <= 1

    def propose(self, plan: Plan, rng: random.Random) -> Proposal:
        call, errands = self._cast(plan, rng)
        state = {"initialization_actions": call.beginning} if call.beginning else None
        desk = Desk(self._domain.open(begin(self._domain, self._database, state)))
        unknown = [_NO_IDS] if plan.mode is ToolMode.SEARCH else []
        scenario = calling.scenario("mock", call.voice, errands, _KNOWN, unknown)
        made = calling.call(desk, call.voice, errands, lambda _: None, scenario)
        return replace(made, initial_state=state)

    def _cast(self, plan: Plan, rng: random.Random) -> tuple[Call, list[Errand]]:
        """People for whom all goals make sense."""
        reason = ""
        for _ in range(_TRIES):
            call = Call(self._team, plan.mode, Voice(plan.style, rng))
            try:
                return call, [GOALS[goal](call) for goal in plan.goals]
            except NothingFitsError as error:
                reason = str(error)
        raise NothingFitsError(f"For {' + '.join(plan.goals)}, {reason}.")
