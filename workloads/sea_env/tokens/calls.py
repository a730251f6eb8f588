"""Tool calls -> the text between `<tool_call>` and `</tool_call>`, as the model's family has it."""

import json
from collections.abc import Mapping
from typing import Any

from sea_env.tokens.style import CallFormat, Style


def write(name: str, arguments: Mapping[str, Any], style: Style) -> str:
    """The canonical text of a call; `reader.parse` of it gives the call back."""
    if style.brief:
        return call_json(name, arguments)
    if style.calls is CallFormat.QWEN3_XML:
        return f"\n{_xml(name, arguments)}\n"
    call = {"name": name, "arguments": dict(arguments)}
    return f"\n{json.dumps(call, ensure_ascii=False)}\n"


def call_json(name: str, arguments: Mapping[str, Any]) -> str:
    """Compact JSON, keys in the order given: the tiny model's form."""
    call = {"name": name, "arguments": dict(arguments)}
    return json.dumps(call, ensure_ascii=False, separators=(",", ":"))


def _xml(name: str, arguments: Mapping[str, Any]) -> str:
    lines = [f"<function={name}>"]
    for key, value in arguments.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        lines += [f"<parameter={key}>", text, "</parameter>"]
    return "\n".join([*lines, "</function>"])
