"""The `user_scenario` of a task or dialogue, checked where it is read, not by whoever plays it.

`users.prompt` and `users.scripted` take any text, list or object for what the user knows; only
what they look things up in has a form.
"""

from collections.abc import Mapping
from typing import Any

from sea_data.formats.errors import RowError
from sea_data.formats.lines import want
from sea_env.domains.shop.scenario import Script


def scenario(row: Mapping[str, Any], place: str = "") -> Mapping[str, Any]:
    """`row["user_scenario"]`, empty where there is none; raises RowError naming the field."""
    found: Mapping[str, Any] = want(row, "user_scenario", dict, place)
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
    script = want(found, "script", dict, place)
    if not script:
        return
    try:
        Script.from_dict(script)
    except KeyError as error:
        raise RowError(f"{place}script", f"lacks {error}") from error
    except ValueError as error:
        raise RowError(f"{place}script", f"can't be played: {error}") from error
