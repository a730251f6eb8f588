"""The procedural planner: combines a task generator's goals with modes and styles. Pure.

Complexity grows with the number of goals. Reflection drops the last goal of a plan that failed, or
moves the plan to an unused combination.
"""

import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from sea_data.synthesis.item import Failure
from sea_data.synthesis.plan import Plan, Style, ToolMode
from sea_data.synthesis.procedural.task_generators import TaskGenerator

_MAX_TRIES = 2000


def plan(domain: str, generator: TaskGenerator, count: int, seed: int) -> list[Plan]:
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


def reflect(
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
