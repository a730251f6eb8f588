"""When two plans of a model are one: the same corner, or nearly the same words for it. Pure.

Mode and style are axes of the plan, so plans that differ there are different. Goals and guidance
are free text: they are compared as sets of word stems, so that neither order nor inflection nor
small words make a plan new.
"""

import re
from collections.abc import Sequence

from sea_data.synthesis.plan import Plan

SIMILAR = 0.8
"""Share of common stems (Jaccard) from which on two texts count as one."""
_WORD = re.compile(r"[^\W_]+")
_SMALL = frozenset(
    _WORD.findall(
        "a an and any at by customer customers for from her his in is it its my of on one or our s "
        "some that the their them they this to user users wants want with your"
    )
)
_ENDINGS = ("ations", "ation", "ings", "ing", "ies", "ed", "es", "s", "e", "y")
_SHORTEST_STEM = 3


def overlaps(one: Plan, other: Plan) -> bool:
    """Whether the second plan would make the tasks of the first."""
    if (one.mode, one.style) != (other.mode, other.style):
        return False
    if not _alike(stems(" ".join(one.goals)), stems(" ".join(other.goals))):
        return False
    guidance, others = stems(one.guidance), stems(other.guidance)
    return not guidance or not others or _alike(guidance, others)


def stems(text: str) -> frozenset[str]:
    """Its words without small ones and without endings."""
    return frozenset(_stem(word) for word in _WORD.findall(text.lower()) if word not in _SMALL)


def first_overlap(plan: Plan, others: Sequence[Plan]) -> Plan | None:
    """The earliest plan that overlaps with this one."""
    return next((other for other in others if overlaps(plan, other)), None)


def _alike(a: frozenset[str], b: frozenset[str]) -> bool:
    if not a or not b:
        return a == b
    return len(a & b) / len(a | b) >= SIMILAR


def _stem(word: str) -> str:
    cut = (word.removesuffix(ending) for ending in _ENDINGS if word.endswith(ending))
    stem = next((stem for stem in cut if len(stem) >= _SHORTEST_STEM), word)
    # As in cancelling and cancel; the same for bill, so that it is billing's stem too.
    return stem[:-1] if len(stem) > _SHORTEST_STEM and stem[-1] == stem[-2] else stem
