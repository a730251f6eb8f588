"""The planner: writes plans that don't overlap; reflection: rewrites one from its failures."""

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from sea_data.synthesis.agents.asking import NonsenseError, ask, text_of, texts_of
from sea_data.synthesis.agents.endpoint import Endpoint, Meter
from sea_data.synthesis.agents.overlap import first_overlap
from sea_data.synthesis.crew import CrewUnavailableError
from sea_data.synthesis.outcome import Failure
from sea_data.synthesis.plan import Plan, Style, ToolMode
from sea_data.synthesis.worlds import World

PLANNER = "You are the planner of a data synthesis team."
REFLECTION = "You are the reflection of a data synthesis team."
_FORMAT = (
    '{"goals": ["short name of a customer goal", ...], "mode": "given" or "search" (whether the '
    'customer knows ids), "style": one of "terse", "polite", "chatty", "impatient", "unsure", '
    '"guidance": "how to write the task", "evaluation": "what checkers should mind"}'
)
_AT_ONCE = 16
"""Plans of one request: more don't fit into a reply of 8,192 tokens."""
_FRUITLESS = 3
"""Requests in a row that add no plan, after which the planner is taken to be at its end."""
_SHOWN = 100
"""Plans that a request lists. New ones are compared with all."""
_MOST_GOALS = 5
_MOST_REASONS = 8


class Planner:
    """Plans and reflection of one domain."""

    def __init__(self, endpoint: Endpoint, world: World, seed: int) -> None:
        self._endpoint = endpoint
        self._world = world
        self._seed = seed
        self.meter = Meter()

    async def plans(self, count: int) -> list[Plan]:
        """At most `count`; raises CrewUnavailableError where the model writes none.

        Each request tells which plans there are; it ends when several in a row add none.
        """
        found: list[Plan] = []
        problem, fruitless, requests = "its plans overlap", 0, 0
        while len(found) < count and fruitless < _FRUITLESS:
            before = len(found)
            try:
                drafts = await self._more(min(_AT_ONCE, count - before), found, requests)
            except NonsenseError as error:
                drafts, problem = [], str(error)
            for draft in drafts:
                plan = self._plan(draft, f"p{len(found) + 1:03}")
                if len(found) < count and first_overlap(plan, found) is None:
                    found.append(plan)
            fruitless = 0 if len(found) > before else fruitless + 1
            requests += 1
        if not found:
            raise CrewUnavailableError(f"The planner writes no plan: {problem}")
        return found

    async def _more(self, count: int, found: Sequence[Plan], number: int) -> list[dict[str, Any]]:
        request = {"role": "user", "content": _request(count, found[-_SHOWN:])}
        messages = [_system(PLANNER, self._world), request]
        seed = self._seed + number
        return await ask(self._endpoint, messages, _drafts, self.meter, temperature=1.0, seed=seed)

    def _plan(self, draft: dict[str, Any], identity: str) -> Plan:
        return Plan(identity, self._world.domain.name, **draft)

    async def reflect(
        self, plan: Plan, failures: Sequence[Failure], others: Collection[Plan]
    ) -> Plan:
        """The plan rewritten; where the model fails at that, with the failures as a warning."""
        told = _told(failures)
        content = (
            f"The plan {json.dumps(_shown(plan))} led to these failures, each blamed on the task "
            f"or on the trajectory:\n{told}\nRewrite the plan so that they don't happen again and "
            f"it stays different from all others. Answer with one object: {_FORMAT}"
        )
        messages = [_system(REFLECTION, self._world), {"role": "user", "content": content}]
        plain = replace(plan, revision=plan.revision + 1)

        def use(value: dict[str, Any]) -> Plan:
            changed = replace(plain, **_draft(value))
            if changed.corner == plan.corner:
                raise ValueError("the plan is unchanged")
            clash = first_overlap(changed, list(others))
            if clash is not None:
                raise ValueError(f"it overlaps with another plan: {json.dumps(_shown(clash))}")
            return changed

        try:
            return await ask(self._endpoint, messages, use, self.meter, temperature=0.7)
        except NonsenseError:
            return replace(plain, guidance=f"{plan.guidance}\nAvoid what failed before:\n{told}")


def _system(role: str, world: World) -> dict[str, Any]:
    content = (
        f"{role} The team makes customer service tasks for the domain {world.domain.name}, with "
        f"dialogues that solve them. The agent's instructions, policy and tools:\n"
        f"{world.system_prompt}"
    )
    return {"role": "system", "content": content}


def _request(count: int, found: Sequence[Plan]) -> str:
    taken = "\n".join(json.dumps(_shown(plan)) for plan in found) or "none yet"
    return (
        f"Write {count} plans that differ from each other and from those that exist in goals, "
        "complexity, mode or style, and cover requests that the policy grants and ones that it "
        f"refuses. Existing plans:\n{taken}\n"
        f'Answer with one JSON object {{"plans": [...]}} of objects like {_FORMAT}'
    )


def _drafts(value: dict[str, Any]) -> list[dict[str, Any]]:
    plans = value.get("plans")
    if not isinstance(plans, list) or not plans:
        raise ValueError("plans must be a list that isn't empty")
    return [_draft(plan) for plan in plans]


def _draft(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("a plan must be an object")
    goals = texts_of(value, "goals")
    if not 1 <= len(goals) <= _MOST_GOALS:
        raise ValueError(f"goals must be a list of 1 to {_MOST_GOALS} texts")
    return {
        "goals": tuple(goals),
        "mode": ToolMode(value.get("mode") or ToolMode.GIVEN),
        "style": Style(value.get("style") or Style.POLITE),
        "guidance": text_of(value, "guidance"),
        "evaluation": text_of(value, "evaluation"),
    }


def _shown(plan: Plan) -> dict[str, Any]:
    names = ("goals", "mode", "style", "guidance", "evaluation")
    return {name: getattr(plan, name) for name in names}


def _told(failures: Sequence[Failure]) -> str:
    counted = Counter((failure.blame.value, failure.reason) for failure in failures)
    return "\n".join(
        f"- {blame} ({count}x): {reason}"
        for (blame, reason), count in counted.most_common(_MOST_REASONS)
    )
