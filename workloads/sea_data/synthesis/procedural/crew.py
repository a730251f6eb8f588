"""The crew without a model: a domain's workshop, the procedural planner, the executable checks."""

import random
from collections.abc import Collection, Sequence

from sea_data.synthesis import planner
from sea_data.synthesis.checking import check
from sea_data.synthesis.desk import ToolRefusedError
from sea_data.synthesis.identity import identity
from sea_data.synthesis.outcome import Blame, Cost, Failure, Outcome
from sea_data.synthesis.plan import Item, Plan
from sea_data.synthesis.procedural.workshops import open_workshop
from sea_data.synthesis.proposal import NothingFitsError
from sea_data.synthesis.worlds import World

_TIDY_EVERY = 256


class ProceduralCrew:
    """`Crew` over a domain's worlds; an item's outcome follows from its seed alone."""

    name = "procedural"
    sent = answered = 0
    """Nobody is asked."""

    def __init__(self, worlds: Sequence[World], seed: int) -> None:
        """`worlds`: at least one, all of one domain; items take them in turn."""
        self._worlds = worlds
        self._seed = seed
        self._domain = worlds[0].domain
        self._workshops = [open_workshop(self._domain, world.database) for world in worlds]
        self._made = 0

    async def plans(self, count: int) -> list[Plan]:
        return planner.plan(self._domain.name, self._workshops[0], count, self._seed)

    async def make(self, item: Item) -> Outcome:
        return self.make_now(item)

    def make_now(self, item: Item) -> Outcome:
        """The same without a loop, for benchmarks."""
        place = item.index % len(self._worlds)
        world = self._worlds[place]
        self._made += 1
        if self._made % _TIDY_EVERY == 0:
            for one in self._worlds:
                one.tidy()
        rng = random.Random(item.random_seed)  # noqa: S311 - data, not secrets
        try:
            proposal = self._workshops[place].propose(item.plan, rng)
        except (NothingFitsError, ToolRefusedError) as error:
            return Failure(Blame.TASK, str(error))
        return check(world, proposal, identity(item))

    async def reflect(
        self, plan: Plan, failures: Sequence[Failure], others: Collection[Plan]
    ) -> Plan:
        rng = random.Random(f"{self._seed}/{plan.id}/{plan.revision}")  # noqa: S311 - not secret
        return planner.reflect(plan, failures, others, rng)

    def spent(self) -> Cost:
        return Cost()
