"""Which domain a row belongs to: said by the row, by its scenario, or by the prefix of its id."""

from collections.abc import Mapping
from typing import Any


def of_row(
    identity: str, row: Mapping[str, Any], scenario: Mapping[str, Any], default: str = ""
) -> Any:
    """The first name found, as it stands there; nothing where none is.

    `default` goes before the prefix: an id is no more than a hint.
    """
    instructions = scenario.get("instructions")
    named = instructions.get("domain") if isinstance(instructions, dict) else None
    prefix = identity.split("_")[0] if "_" in identity else ""
    return row.get("domain") or named or default or prefix
