"""JSON that every later hop can carry: rejects what only Python's own parser accepts.

Lone surrogates break UTF-8, huge integers break msgpack, infinities break JSON itself and deep
nesting breaks recursive code. Called on tool calls as the model wrote them and on data rows.
"""

import json
import math
from typing import Any, NoReturn

_MAX_DEPTH = 32
_INTEGERS = range(-(2**63), 2**64)


def loads(text: str) -> Any:
    """Parses strictly; ValueError says what is wrong."""
    try:
        value = json.loads(text, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    check(value)
    return value


def carried(value: Any) -> Any:
    """What a text holds as JSON, or a value as it came; ValueError says why neither can go on."""
    if isinstance(value, str):
        return loads(value)
    check(value)
    return value


def check(value: Any) -> None:
    """Raises ValueError where a value, whatever it came from, could not be carried on."""
    _check(value, _MAX_DEPTH)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} isn't a JSON number")


def _check(value: Any, depth: int) -> None:
    if depth < 0:
        raise ValueError("it is nested too deeply")
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_text(key)
            _check(item, depth - 1)
    elif isinstance(value, list):
        for item in value:
            _check(item, depth - 1)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("a number is too large, or NaN")
    elif isinstance(value, int) and not isinstance(value, bool) and value not in _INTEGERS:
        raise ValueError("an integer has more than 64 bits")


def _check_text(text: str) -> None:
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise ValueError("a text holds half of a surrogate pair") from error
