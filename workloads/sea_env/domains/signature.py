"""A tool's signature -> the JSON schema of its arguments, as tau2-bench publishes it.

Pydantic does the reading, so every annotation that it knows works: `Literal`, an enum, a model of
nested objects, a union, a default. Prose (titles, descriptions) is left out: a prompt carries the
tool's own description once.
"""

import inspect
from collections.abc import Callable
from typing import Any

from pydantic import create_model

_PROSE = frozenset({"title", "description"})


def parameters(function: Callable[..., Any]) -> dict[str, Any]:
    """JSON schema of all parameters but the first, which is the state.

    `def f(state, x: str, n: int = 3)` gives `{"properties": {"x": {"type": "string"}, "n":
    {"type": "integer", "default": 3}}, "required": ["x"], "type": "object"}`.
    """
    fields: dict[str, Any] = {}
    for name, parameter in list(inspect.signature(function).parameters.items())[1:]:
        empty = parameter.default is inspect.Parameter.empty
        fields[name] = (parameter.annotation, ... if empty else parameter.default)
    plain: dict[str, Any] = without_prose(
        create_model(function.__name__, **fields).model_json_schema()
    )
    return plain


def without_prose(schema: Any) -> Any:
    """The schema without titles and descriptions; properties of those names stay."""
    if isinstance(schema, list):
        return [without_prose(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found = {}
    for key, value in schema.items():
        if key in {"properties", "$defs"}:
            found[key] = {name: without_prose(part) for name, part in value.items()}
        elif key not in _PROSE:
            found[key] = without_prose(value)
    return found
