"""A model folder's own chat template, read for two things: its style, and its text for the tools.

Our renderer frames turns itself (a template would encode history again), but the template decides
how the family writes calls, thoughts and the list of tools. Needs jinja2, not transformers.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from sea_env.tokens import markup
from sea_env.tokens.style import CallFormat, Style, Thinking

_THOUGHT = "thought-of-the-probe"
_PROBE: list[dict[str, Any]] = [
    {"role": "user", "content": "u"},
    {
        "role": "assistant",
        "content": "c",
        "reasoning_content": _THOUGHT,
        "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {"a": 1}}}],
    },
]


class ChatTemplateError(ValueError):
    """The folder's template can't be rendered."""


class ChatTemplate:
    """One Jinja template, run in Jinja's sandbox as transformers does."""

    def __init__(self, source: str) -> None:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _refuse
        try:
            self._template = environment.from_string(source)
        except jinja2.TemplateError as error:
            raise ChatTemplateError(f"The chat template isn't valid Jinja: {error}.") from error

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] = (),
        *,
        prompt: bool = False,
    ) -> str:
        """The text of a dialogue; with `prompt`, up to where the assistant goes on."""
        try:
            return self._template.render(
                messages=messages, tools=list(tools) or None, add_generation_prompt=prompt
            )
        except Exception as error:  # a template is a program and may raise anything
            raise ChatTemplateError(f"The chat template can't be rendered: {error}.") from error

    def style(self, model_type: str = "") -> Style:
        """Derived from what the template writes; `model_type` is config.json's."""
        written = self.render(_PROBE)
        header = self.render(_PROBE[:1], prompt=True).rpartition(markup.IM_START)[2]
        thinking = Thinking.NONE
        if header.rstrip().endswith(markup.THINK):
            thinking = Thinking.PROMPTED
        elif _THOUGHT in written:
            thinking = Thinking.OWN
        if "<function=f>" in written:
            return Style(CallFormat.QWEN3_XML, thinking)
        brief = f"{markup.TOOL_CALL}{{" in written
        old = model_type.startswith("qwen2")
        return Style(CallFormat.QWEN25 if old else CallFormat.HERMES, thinking, brief)

    def system(self, text: str, tools: Sequence[Mapping[str, Any]]) -> str:
        """The system turn's text for this policy and these tools."""
        messages = [{"role": "system", "content": text}, {"role": "user", "content": "u"}]
        turn = self.render(messages, tools).partition(f"{markup.IM_START}system\n")[2]
        return turn.partition(markup.IM_END)[0]


def load(folder: Path) -> ChatTemplate | None:
    """`chat_template.jinja`, or the entry of tokenizer_config.json; None if there is none."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        return ChatTemplate(file.read_text(encoding="utf-8"))
    given = read_json(folder / "tokenizer_config.json").get("chat_template")
    if isinstance(given, list):
        given = next((entry["template"] for entry in given if entry.get("name") == "default"), None)
    return ChatTemplate(given) if isinstance(given, str) else None


def read_json(path: Path) -> dict[str, Any]:
    """A small configuration file; empty if it is missing or isn't an object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _to_json(value: Any, **options: Any) -> str:
    """transformers' filter: unlike Jinja's own, it escapes nothing for HTML."""
    return json.dumps(value, **{"ensure_ascii": False, **options})


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)
