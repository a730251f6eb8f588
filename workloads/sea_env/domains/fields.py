"""Fields of records that a domain does not know: tau2 leaves them out, and so do we, aloud."""

import logging
from collections.abc import Iterator
from typing import Any

_log = logging.getLogger(__name__)


def tell_left_out(domain: str, raw: Any, read: Any, name: str) -> None:
    """A warning with the first place of `raw` that `read`, the same after its model, lacks."""
    found = list(_left_out(raw, read))
    if found:
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        _log.warning(
            "The database %s has fields that %s doesn't know; they are left out: %s%s.",
            name,
            domain,
            found[0],
            more,
        )


def _left_out(raw: Any, read: Any, place: str = "") -> Iterator[str]:
    if isinstance(raw, dict):
        for key, value in raw.items():
            inside = f"{place}/{key}" if place else key
            if key in read:
                yield from _left_out(value, read[key], inside)
            else:
                yield inside
    elif isinstance(raw, list):
        for index, (value, kept) in enumerate(zip(raw, read, strict=True)):
            yield from _left_out(value, kept, f"{place}/{index}")
