"""Fields that task rows and dialogue rows share, checked when a row is read.

`users.prompt` and `users.scripted` accept any text, list or object for what the user knows; only
the fields that they look up have a fixed form.
"""

from collections.abc import Mapping
from typing import Any

from sea_data.errors import RowError
from sea_env.domains.shop.scenario import Script

_TYPE_NAMES: dict[type, str] = {list: "a list", dict: "an object", str: "a string"}


def typed_field(row: Mapping[str, Any], field: str, kind: type, path: str = "") -> Any:
    """`row[field]`, an empty value of the type if it is None or absent.

    Raises RowError for a value of another type; `path` precedes the field's name in it.
    """
    value = row.get(field)
    if value is None:
        return kind()
    if not isinstance(value, kind):
        found = type(value).__name__
        raise RowError(f"{path}{field}", f"must be {_TYPE_NAMES[kind]}, not {found}")
    return value


def domain_of(
    row_id: str, row: Mapping[str, Any], scenario: Mapping[str, Any], default: str = ""
) -> Any:
    """The domain named by the row, its scenario, `default` or the id's prefix, in this order.

    Empty if none names one. `default` precedes the prefix, since an id is only a hint.
    """
    instructions = scenario.get("instructions")
    named = instructions.get("domain") if isinstance(instructions, dict) else None
    prefix = row_id.split("_")[0] if "_" in row_id else ""
    return row.get("domain") or named or default or prefix


def user_scenario(row: Mapping[str, Any], place: str = "") -> Mapping[str, Any]:
    """`row["user_scenario"]`, empty if absent; raises RowError naming the field."""
    found: Mapping[str, Any] = typed_field(row, "user_scenario", dict, place)
    instructions = found.get("instructions")
    field = f"{place}user_scenario.instructions"
    if not isinstance(instructions, dict | str | None):
        raise RowError(field, f"must be an object or text, not {type(instructions).__name__}")
    domain = instructions.get("domain") if isinstance(instructions, dict) else None
    if not isinstance(domain, str | None):
        raise RowError(f"{field}.domain", f"must be text, not {type(domain).__name__}")
    _check_script(found, f"{place}user_scenario.")
    return found


def _check_script(found: Mapping[str, Any], place: str) -> None:
    script = typed_field(found, "script", dict, place)
    if not script:
        return
    try:
        Script.from_dict(script)
    except KeyError as error:
        raise RowError(f"{place}script", f"lacks {error}") from error
    except ValueError as error:
        raise RowError(f"{place}script", f"can't be played: {error}") from error
