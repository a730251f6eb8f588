"""Which of its tools an agent's words ask a scripted user to use. Pure.

The agent names the tool, as `toggle_roaming` or "toggle roaming"; arguments follow as JSON:
`grant_app_permission {"app_name": "messaging", "permission": "sms"}`.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from sea_env.domains.base import Tool
from sea_env.tokens import plain_json
from sea_env.tokens.messages import ToolCall

_DECODER = json.JSONDecoder()


def asked_for(text: str, tools: Mapping[str, Tool]) -> ToolCall | None:
    """The call that the text asks for first, or None.

    A tool that needs arguments is asked for only where they are given.
    """
    found: list[tuple[int, ToolCall]] = []
    for name, tool in tools.items():
        match = re.search(_words(name), text, re.IGNORECASE)
        if match is None:
            continue
        arguments = _arguments(text[match.end() :])
        if tool.required and not set(tool.required) <= set(arguments):
            continue
        found.append((match.start(), ToolCall(name, arguments)))
    return min(found, key=lambda one: one[0])[1] if found else None


def _words(name: str) -> str:
    return r"\b" + name.replace("_", "[_ ]") + r"\b"


def _arguments(rest: str) -> dict[str, Any]:
    given = rest.lstrip(" (:`")
    if not given.startswith("{"):
        return {}
    try:
        value, _ = _DECODER.raw_decode(given)
        plain_json.check(value)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
