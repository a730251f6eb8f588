"""The procedural planner: plans over goals, modes and styles without overlap. Pure.

Complexity rises with the number of goals; reflection takes the last goal from a plan for which the
world has nobody, or moves it to another corner.
"""

import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from sea_data.synthesis.outcome import Failure
from sea_data.synthesis.plan import Plan, Style, ToolMode
from sea_data.synthesis.proposal import Workshop

_TRIES = 2000


def plan(domain: str, workshop: Workshop, count: int, seed: int) -> list[Plan]:
    """At most `count` plans: first every single goal, then combinations."""
    rng = random.Random(f"{seed}/{domain}/plans")  # noqa: S311 - data, not secrets
    found: list[Plan] = []
    taken: set[tuple[object, ...]] = set()
    for goals, mode, style in _corners(workshop, rng):
        if len(found) == count:
            break
        made = Plan(f"p{len(found) + 1:03}", domain, goals, mode, style)
        if made.corner not in taken:
            taken.add(made.corner)
            found.append(made)
    return found


def _corners(
    workshop: Workshop, rng: random.Random
) -> Iterator[tuple[tuple[str, ...], ToolMode, Style]]:
    styles, modes = list(Style), list(ToolMode)
    rng.shuffle(styles)
    for number, goal in enumerate(workshop.goals):
        yield (goal,), modes[number % len(modes)], styles[number % len(styles)]
    for _ in range(_TRIES):
        size = rng.randint(1, workshop.most_goals)
        goals = tuple(rng.choice(workshop.goals) for _ in range(size))
        if workshop.fits(goals):
            yield goals, rng.choice(modes), rng.choice(styles)


def reflect(
    given: Plan, failures: Sequence[Failure], taken: Collection[Plan], rng: random.Random
) -> Plan:
    """The plan rewritten so that its failures can't happen again, in a corner that is free."""
    if not failures:
        return given
    corners = {plan.corner for plan in taken}
    changed = replace(given, revision=given.revision + 1)
    candidates = [replace(changed, goals=given.goals[:size]) for size in range(1, len(given.goals))]
    candidates.reverse()
    shapes = [given, *candidates]
    others = [
        replace(changed, goals=shape.goals, mode=mode, style=style)
        for shape in shapes
        for mode in ToolMode
        for style in Style
    ]
    rng.shuffle(others)
    free = [plan for plan in (*candidates, *others) if plan.corner not in corners]
    return free[0] if free else given
