"""The list of tools in a system prompt, in the format that Qwen2.5 and Qwen3 were trained on.

Domains and the published rows write it like this; for a family with another format `Renderer` takes
the schemas out and lets the model's own template write them.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sea_env.tokens import arguments, markup

_BEFORE = (
    "\n\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n"
)
_AFTER = (
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments "
    f"within {markup.TOOL_CALL}{markup.TOOL_CALL_END} XML tags:\n{markup.TOOL_CALL}\n"
    f'{{"name": <function-name>, "arguments": <args-json-object>}}\n{markup.TOOL_CALL_END}'
)


def write(system: str, tools: Iterable[Mapping[str, Any]]) -> str:
    """A system prompt with its tools (OpenAI function schemas) at the end."""
    lines = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools)
    return f"{system}{_BEFORE}{lines}{_AFTER}" if lines else system


def split(system: str) -> tuple[str, list[dict[str, Any]]]:
    """The inverse of `write`: (prompt, schemas); the whole text and no schema if it has none."""
    text, found, rest = system.partition(_BEFORE)
    lines, closed, after = rest.rpartition(_AFTER)
    if not found or not closed or after.strip():
        return system, []
    try:
        schemas = [json.loads(line) for line in lines.split("\n")]
    except (ValueError, RecursionError):
        return system, []
    return text, schemas


def parameters(tools: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """JSON schema of the arguments by tool name, from OpenAI function schemas.

    Raises AttributeError, KeyError or TypeError for a list of anything else.
    """
    functions = (tool.get("function", tool) for tool in tools)
    return {one["name"]: _schema(one.get("parameters") or {}) for one in functions}


def _schema(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same, of which `arguments` can read all that it asks for."""
    tuple(given.get("required") or ())
    for part in (given.get("properties") or {}).values():
        "".join(arguments.kinds(part))
    return given
