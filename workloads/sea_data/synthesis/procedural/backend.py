"""The backend without a model: a domain's task generator, planner and executable checks.

The planner combines a task generator's goals with modes and styles; complexity grows with the
number of goals. Reflection drops the last goal of a plan that failed, or moves the plan to an
unused combination.
"""

import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from sea_data.synthesis.execution_checks import check
from sea_data.synthesis.plan import (
    Blame,
    Cost,
    Failure,
    Item,
    ItemResult,
    Plan,
    Style,
    TaskFaultError,
    ToolMode,
)
from sea_data.synthesis.procedural.task_generators import TaskGenerator, open_task_generator
from sea_data.synthesis.source_database import SourceDatabase

_MAX_TRIES = 2000
_ITEMS_PER_CLEANUP = 256


def combine_goals(domain: str, generator: TaskGenerator, count: int, seed: int) -> list[Plan]:
    """At most `count` plans: first each single goal, then combinations."""
    rng = random.Random(f"{seed}/{domain}/plans")  # noqa: S311 - data, not secrets
    found: list[Plan] = []
    taken: set[tuple[object, ...]] = set()
    for goals, mode, style in _combinations(generator, rng):
        if len(found) == count:
            break
        made = Plan(f"p{len(found) + 1:03}", domain, goals, mode, style)
        if made.key not in taken:
            taken.add(made.key)
            found.append(made)
    return found


def _combinations(
    generator: TaskGenerator, rng: random.Random
) -> Iterator[tuple[tuple[str, ...], ToolMode, Style]]:
    styles, modes = list(Style), list(ToolMode)
    rng.shuffle(styles)
    for number, goal in enumerate(generator.goals):
        yield (goal,), modes[number % len(modes)], styles[number % len(styles)]
    for _ in range(_MAX_TRIES):
        size = rng.randint(1, generator.max_goals)
        goals = tuple(rng.choice(generator.goals) for _ in range(size))
        if generator.fits(goals):
            yield goals, rng.choice(modes), rng.choice(styles)


def simplify(
    given: Plan, failures: Sequence[Failure], taken: Collection[Plan], rng: random.Random
) -> Plan:
    """The plan changed to fewer goals or another mode and style, unlike all in `taken`."""
    if not failures:
        return given
    keys = {plan.key for plan in taken}
    changed = replace(given, revision=given.revision + 1)
    shorter = [replace(changed, goals=given.goals[:size]) for size in range(1, len(given.goals))]
    shorter.reverse()
    others = [
        replace(changed, goals=shape.goals, mode=mode, style=style)
        for shape in [given, *shorter]
        for mode in ToolMode
        for style in Style
    ]
    rng.shuffle(others)
    free = [plan for plan in (*shorter, *others) if plan.key not in keys]
    return free[0] if free else given


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
        return combine_goals(self._domain.name, self._generators[0], count, self._seed)

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
        return simplify(plan, failures, others, rng)

    def spent(self) -> Cost:
        return Cost()
