"""The planner: writes plans that don't overlap; reflection: rewrites a plan from its failures.

Mode and style are axes of a plan, so plans that differ there don't overlap. Goals and guidance are
free text, compared as sets of word stems, so another order, inflection or stop word makes no new
plan.
"""

import json
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from sea_data.synthesis.agents.model_client import (
    ModelClient,
    TokenMeter,
    UnusableReplyError,
    ask_json,
    text_of,
    texts_of,
)
from sea_data.synthesis.backend import BackendUnavailableError
from sea_data.synthesis.plan import Failure, Plan, Style, ToolMode
from sea_data.synthesis.source_database import SourceDatabase

MIN_SIMILARITY = 0.8
"""Share of common stems (Jaccard index) from which on two texts count as the same."""
_WORD = re.compile(r"[^\W_]+")
_STOP_WORDS = frozenset(
    _WORD.findall(
        "a an and any at by customer customers for from her his in is it its my of on one or our s "
        "some that the their them they this to user users wants want with your"
    )
)
_ENDINGS = ("ations", "ation", "ings", "ing", "ies", "ed", "es", "s", "e", "y")
_MIN_STEM = 3


def overlaps(one: Plan, other: Plan) -> bool:
    """True if both plans would yield the same tasks."""
    if (one.mode, one.style) != (other.mode, other.style):
        return False
    if not _alike(stems(" ".join(one.goals)), stems(" ".join(other.goals))):
        return False
    guidance, others = stems(one.guidance), stems(other.guidance)
    return not guidance or not others or _alike(guidance, others)


def stems(text: str) -> frozenset[str]:
    """The text's words without stop words and endings."""
    return frozenset(_stem(word) for word in _WORD.findall(text.lower()) if word not in _STOP_WORDS)


def first_overlap(plan: Plan, others: Sequence[Plan]) -> Plan | None:
    """The first of `others` that overlaps with this plan."""
    return next((other for other in others if overlaps(plan, other)), None)


def _alike(a: frozenset[str], b: frozenset[str]) -> bool:
    if not a or not b:
        return a == b
    return len(a & b) / len(a | b) >= MIN_SIMILARITY


def _stem(word: str) -> str:
    cut = (word.removesuffix(ending) for ending in _ENDINGS if word.endswith(ending))
    stem = next((stem for stem in cut if len(stem) >= _MIN_STEM), word)
    # "cancelling" and "cancel" share a stem; so do "billing" and "bill", which loses an l too.
    return stem[:-1] if len(stem) > _MIN_STEM and stem[-1] == stem[-2] else stem


PLANNER = "You are the planner of a data synthesis team."
REFLECTION = "You are the reflection of a data synthesis team."
_FORMAT = (
    '{"goals": ["short name of a customer goal", ...], "mode": "given" or "search" (whether the '
    'customer knows ids), "style": one of "terse", "polite", "chatty", "impatient", "unsure", '
    '"guidance": "how to write the task", "evaluation": "what checkers should mind"}'
)
_PLANS_PER_REQUEST = 16
"""More don't fit into a reply of 8,192 tokens."""
_MAX_FRUITLESS = 3
"""Consecutive requests without a new plan after which planning stops."""
_MAX_LISTED = 100
"""Existing plans that a request lists. New ones are compared with all."""
_MAX_GOALS = 5
_MAX_REASONS = 8


class Planner:
    """Plans and reflection of one domain."""

    def __init__(self, client: ModelClient, source: SourceDatabase, seed: int) -> None:
        self._client = client
        self._source = source
        self._seed = seed
        self.meter = TokenMeter()

    async def plans(self, count: int) -> list[Plan]:
        """At most `count`; raises BackendUnavailableError if the model writes none.

        Each request lists existing plans. Stops after `_MAX_FRUITLESS` requests without a new one.
        """
        found: list[Plan] = []
        problem, fruitless, requests = "its plans overlap", 0, 0
        while len(found) < count and fruitless < _MAX_FRUITLESS:
            before = len(found)
            try:
                drafts = await self._more(min(_PLANS_PER_REQUEST, count - before), found, requests)
            except UnusableReplyError as error:
                drafts, problem = [], str(error)
            for draft in drafts:
                plan = self._plan(draft, f"p{len(found) + 1:03}")
                if len(found) < count and first_overlap(plan, found) is None:
                    found.append(plan)
            fruitless = 0 if len(found) > before else fruitless + 1
            requests += 1
        if not found:
            raise BackendUnavailableError(f"The planner writes no plan: {problem}")
        return found

    async def _more(self, count: int, found: Sequence[Plan], number: int) -> list[dict[str, Any]]:
        request = {"role": "user", "content": _request(count, found[-_MAX_LISTED:])}
        messages = [_system(PLANNER, self._source), request]
        # After a request without a new plan the next one has the same messages: another seed gets
        # another answer.
        seed = self._seed + number
        return await ask_json(
            self._client, messages, _drafts, self.meter, temperature=1.0, seed=seed
        )

    def _plan(self, draft: dict[str, Any], plan_id: str) -> Plan:
        return Plan(plan_id, self._source.domain.name, **draft)

    async def reflect(
        self, plan: Plan, failures: Sequence[Failure], others: Collection[Plan]
    ) -> Plan:
        """The plan rewritten; if the model fails to, the plan with the failures in its guidance."""
        reasons = _failures_text(failures)
        content = (
            f"The plan {json.dumps(_as_prompt(plan))} led to these failures, each blamed on the "
            f"task or on the trajectory:\n{reasons}\nRewrite the plan so that they don't happen "
            f"again and it stays different from all others. Answer with one object: {_FORMAT}"
        )
        messages = [_system(REFLECTION, self._source), {"role": "user", "content": content}]
        plain = replace(plan, revision=plan.revision + 1)

        def use(value: dict[str, Any]) -> Plan:
            changed = replace(plain, **_draft(value))
            if changed.key == plan.key:
                raise ValueError("the plan is unchanged")
            clash = first_overlap(changed, list(others))
            if clash is not None:
                raise ValueError(f"it overlaps with another plan: {json.dumps(_as_prompt(clash))}")
            return changed

        try:
            return await ask_json(self._client, messages, use, self.meter, temperature=0.7)
        except UnusableReplyError:
            return replace(plain, guidance=f"{plan.guidance}\nAvoid what failed before:\n{reasons}")


def _system(role: str, source: SourceDatabase) -> dict[str, Any]:
    content = (
        f"{role} The team makes customer service tasks for the domain {source.domain.name}, with "
        f"dialogues that solve them. The agent's instructions, policy and tools:\n"
        f"{source.system_prompt}"
    )
    return {"role": "system", "content": content}


def _request(count: int, found: Sequence[Plan]) -> str:
    taken = "\n".join(json.dumps(_as_prompt(plan)) for plan in found) or "none yet"
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
    if not 1 <= len(goals) <= _MAX_GOALS:
        raise ValueError(f"goals must be a list of 1 to {_MAX_GOALS} texts")
    return {
        "goals": tuple(goals),
        "mode": ToolMode(value.get("mode") or ToolMode.GIVEN),
        "style": Style(value.get("style") or Style.POLITE),
        "guidance": text_of(value, "guidance"),
        "evaluation": text_of(value, "evaluation"),
    }


def _as_prompt(plan: Plan) -> dict[str, Any]:
    names = ("goals", "mode", "style", "guidance", "evaluation")
    return {name: getattr(plan, name) for name in names}


def _failures_text(failures: Sequence[Failure]) -> str:
    counted = Counter((failure.blame.value, failure.reason) for failure in failures)
    return "\n".join(
        f"- {blame} ({count}x): {reason}"
        for (blame, reason), count in counted.most_common(_MAX_REASONS)
    )
