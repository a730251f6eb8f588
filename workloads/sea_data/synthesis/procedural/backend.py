"""The backend without a model: a domain's task generator, planner and executable checks."""

import random
from collections.abc import Collection, Sequence

from sea_data.synthesis.execution_checks import check
from sea_data.synthesis.item import Blame, Cost, Failure, Item, ItemResult, TaskFaultError
from sea_data.synthesis.plan import Plan
from sea_data.synthesis.procedural import planner
from sea_data.synthesis.procedural.task_generators import open_task_generator
from sea_data.synthesis.source_database import SourceDatabase

_ITEMS_PER_CLEANUP = 256


class ProceduralBackend:
    """`Backend` over a domain's source databases. An item's seed determines its result."""

    name = "procedural"
    sent = answered = 0
    """No model is asked."""

    def __init__(self, sources: Sequence[SourceDatabase], seed: int) -> None:
        """`sources`: at least one, all of one domain; items take them in turn."""
        self._sources = sources
        self._seed = seed
        self._domain = sources[0].domain
        self._generators = [
            open_task_generator(self._domain, source.database) for source in sources
        ]
        self._made = 0

    async def plans(self, count: int) -> list[Plan]:
        return planner.plan(self._domain.name, self._generators[0], count, self._seed)

    async def make(self, item: Item) -> ItemResult:
        return self.make_now(item)

    def make_now(self, item: Item) -> ItemResult:
        """As `make`, without an event loop, for benchmarks."""
        place = item.index % len(self._sources)
        source = self._sources[place]
        self._made += 1
        if self._made % _ITEMS_PER_CLEANUP == 0:
            for one in self._sources:
                one.forget_end_states()
        rng = random.Random(item.random_seed)  # noqa: S311 - data, not secrets
        try:
            candidate = self._generators[place].generate(item.plan, rng)
        except TaskFaultError as error:
            return Failure(Blame.TASK, str(error))
        return check(source, candidate, item.row_id)

    async def reflect(
        self, plan: Plan, failures: Sequence[Failure], others: Collection[Plan]
    ) -> Plan:
        rng = random.Random(f"{self._seed}/{plan.id}/{plan.revision}")  # noqa: S311 - not secret
        return planner.reflect(plan, failures, others, rng)

    def spent(self) -> Cost:
        return Cost()
