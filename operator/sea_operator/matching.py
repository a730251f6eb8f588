"""Whether a live object already says what we would apply: a pass must not write without need.

The API server fills in defaults and others may add their own labels or list entries, so the
question is whether everything we want is there, not whether the objects are equal.
"""

from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import Any

from kubernetes.utils.quantity import parse_quantity

FINEST = Decimal("0.001")
"""Of an amount: the API server rounds up to it."""


def contains(live: Any, wanted: Any) -> bool:
    """Whether `live` has everything of `wanted`, at any depth.

    Lists of named objects (containers, env, ports, volumes) match by name and may have more;
    other lists must match entry by entry.
    """
    if isinstance(wanted, Mapping):
        return isinstance(live, Mapping) and _has_keys(live, wanted)
    if isinstance(wanted, list):
        return isinstance(live, list) and _has_entries(live, wanted)
    return bool(live == wanted) or _same_quantity(live, wanted)


def _has_keys(live: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(contains(live.get(key, _empty(value)), value) for key, value in wanted.items())


def _empty(wanted: Any) -> Any:
    """The API server drops empty maps and lists: absent means empty."""
    return type(wanted)() if wanted in ({}, []) else None


def _has_entries(live: list[Any], wanted: list[Any]) -> bool:
    if wanted and all(_name(entry) for entry in wanted):
        by_name = {_name(entry): entry for entry in live}
        return all(contains(by_name.get(_name(entry)), entry) for entry in wanted)
    return len(live) == len(wanted) and all(map(contains, live, wanted))


def _name(entry: Any) -> str | None:
    """What identifies an entry; volume mounts go by path, since one volume may be mounted twice."""
    if not isinstance(entry, Mapping):
        return None
    return entry.get("mountPath") or entry.get("name")


def _same_quantity(live: Any, wanted: Any) -> bool:
    """`1024Mi` is `1Gi`: the API server rewrites amounts in its own way."""
    if not (isinstance(live, str) and isinstance(wanted, str)):
        return False
    amounts = (_quantity(live), _quantity(wanted))
    return None not in amounts and amounts[0] == amounts[1]


def _quantity(text: str) -> Decimal | None:
    """An amount as the API server keeps it; None for other text."""
    try:
        return Decimal(parse_quantity(text)).quantize(FINEST, ROUND_CEILING)
    except (ValueError, InvalidOperation):
        return None
