"""Merges a task's `initialization_data` into one side's database, as tau2-bench does. Pure.

Objects are merged key by key; all other values, including lists, are replaced.
"""

import copy
from collections.abc import Callable, Collection, Mapping
from typing import Any

from sea_env.domains.database import DatabaseError
from sea_env.domains.overlay import Overlay, Tables


def in_file_layout(side: Overlay, listed: Collection[str]) -> dict[str, Any]:
    """A side's present state in the layout of its file; it shares the records."""
    return {
        name: list(table.values()) if name in listed else table
        for name, table in side.folded().items()
    }


def merged(
    base: Mapping[str, Any],
    data: Mapping[str, Any],
    layout: Callable[[Mapping[str, Any]], Tables] | None,
    records: Callable[[Mapping[str, Any]], Tables] | None = None,
) -> Tables:
    """Tables of `base` with `data` merged in.

    `layout` validates the whole, `records` only the records that the data changes. Raises
    DatabaseError if the result doesn't fit the domain's layout.
    """
    unknown = sorted(set(data) - set(base))
    if unknown:
        raise DatabaseError(f"the initial data has the unknown table {unknown[0]!r}")
    # A copy: the merged records become shared ones, and the data belongs to the caller's task.
    found = _merged(base, copy.deepcopy(dict(data)))
    if layout is not None:
        return layout(found)
    for name, table in found.items():
        if not isinstance(table, dict):
            raise DatabaseError(f"the initial data replaces the table {name!r} by another value")
    if records is not None:
        changed = {name: {key: found[name][key] for key in data[name]} for name in data}
        found |= {name: {**found[name], **read} for name, read in records(changed).items()}
    return found


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(old)
    for key, given in new.items():
        value, known = given, old.get(key)
        if isinstance(known, Mapping) and isinstance(value, Mapping):
            value = _merged(known, value)
        found[key] = value
    return found
