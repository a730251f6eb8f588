"""The planner: writes plans that don't overlap; reflection: rewrites one from its failures."""

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from sea_workloads.synthesis.agents.asking import NonsenseError, ask, text_of, texts_of
from sea_workloads.synthesis.agents.endpoint import Endpoint, Meter
from sea_workloads.synthesis.crew import CrewUnavailableError
from sea_workloads.synthesis.outcome import Failure
from sea_workloads.synthesis.plan import Plan, Style, ToolMode
from sea_workloads.synthesis.worlds import World

PLANNER = "You are the planner of a data synthesis team."
REFLECTION = "You are the reflection of a data synthesis team."
_FORMAT = (
    '{"goals": ["short name of a customer goal", ...], "mode": "given" or "search" (whether the '
    'customer knows ids), "style": one of "terse", "polite", "chatty", "impatient", "unsure", '
    '"guidance": "how to write the task", "evaluation": "what checkers should mind"}'
)
_ROUNDS = 6
"""Requests for more plans before the planner is taken to be at its end."""
_MOST_GOALS = 5
_SIMILAR = 0.8
_MOST_REASONS = 8


class Planner:
    """Plans and reflection of one domain."""

    def __init__(self, endpoint: Endpoint, world: World, seed: int) -> None:
        self._endpoint = endpoint
        self._world = world
        self._seed = seed
        self.meter = Meter()

    async def plans(self, count: int) -> list[Plan]:
        """At most `count`; raises CrewUnavailableError where the model writes none."""
        found: list[Plan] = []
        messages = [_system(PLANNER, self._world)]
        problem = "its plans overlap"
        for attempt in range(_ROUNDS):
            if len(found) >= count:
                break
            messages.append({"role": "user", "content": _request(count - len(found), found)})
            try:
                drafts = await ask(
                    self._endpoint,
                    messages,
                    _drafts,
                    self.meter,
                    temperature=1.0,
                    seed=self._seed + attempt,
                )
            except NonsenseError as error:
                problem = str(error)
                continue
            for draft in drafts:
                plan = self._plan(draft, f"p{len(found) + 1:03}")
                if len(found) < count and not any(overlaps(plan, other) for other in found):
                    found.append(plan)
        if not found:
            raise CrewUnavailableError(f"The planner writes no plan: {problem}")
        return found

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
            clash = next((other for other in others if overlaps(changed, other)), None)
            if clash is not None:
                raise ValueError(f"it overlaps with another plan: {json.dumps(_shown(clash))}")
            return changed

        try:
            return await ask(self._endpoint, messages, use, self.meter, temperature=0.7)
        except NonsenseError:
            return replace(plain, guidance=f"{plan.guidance}\nAvoid what failed before:\n{told}")


def overlaps(one: Plan, other: Plan) -> bool:
    """Same corner, or the same goals, mode and style with guidance in nearly the same words."""
    if (one.goals, one.mode, one.style) != (other.goals, other.mode, other.style):
        return False
    a, b = set(one.guidance.lower().split()), set(other.guidance.lower().split())
    return not a or not b or len(a & b) / len(a | b) >= _SIMILAR


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
