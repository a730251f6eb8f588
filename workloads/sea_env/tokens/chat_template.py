"""A model folder's own chat template, read for two things: its style, and its text for the tools.

Our renderer frames turns itself (a template would encode history again), but the template decides
how the family writes calls, thoughts and the list of tools. Needs jinja2, not transformers.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, LoopControlExtension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from sea_env.tokens import markup
from sea_env.tokens.style import CallFormat, Style, Thinking, XmlValues

_THOUGHT, _TEXT = "thought-of-the-probe", "text-of-the-probe"
_ARGUMENTS = {"b": True, "l": ["x"]}
_PROBE: list[dict[str, Any]] = [
    {"role": "user", "content": " u "},
    {
        "role": "assistant",
        "content": _TEXT,
        "reasoning_content": _THOUGHT,
        "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": _ARGUMENTS}}],
    },
]
_TOKEN_NAMES = ("bos_token", "eos_token", "pad_token", "unk_token")
_RESULT: dict[str, Any] = {"role": "tool", "content": "r"}
_VALUES = {
    ("true", '["x"]'): XmlValues.JSON,
    ("True", '["x"]'): XmlValues.CONTAINERS,
    ("True", "['x']"): XmlValues.OBJECTS,
}
"""How `_ARGUMENTS` are written."""


class ChatTemplateError(ValueError):
    """The folder's template can't be rendered."""


class _Generation(Extension):
    """`{% generation %}...{% endgeneration %}` renders what is between the tags.

    Training templates (TRL's) mark with it what the assistant writes; transformers renders them
    the same way.
    """

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class ChatTemplate:
    """One Jinja template, run in Jinja's sandbox as transformers does."""

    def __init__(self, source: str, names: Mapping[str, str] | None = None) -> None:
        """`names`: texts that the template may use by name, as `eos_token`."""
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[LoopControlExtension, _Generation]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _refuse
        environment.globals.update(names or {})
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
        thinking = self._thinking(written)
        if f"{markup.TOOL_CALL}{{" in written:
            return Style(CallFormat.HERMES, thinking, brief=True)
        old = model_type.startswith("qwen2")
        xml = "<function=f>" in written
        calls = CallFormat.QWEN25 if old else CallFormat.HERMES
        return Style(
            CallFormat.QWEN3_XML if xml else calls,
            thinking,
            before_call=_between(written, _TEXT, markup.TOOL_CALL) or Style.before_call,
            after_results=self._after_results(),
            values=_VALUES.get((_value(written, "b"), _value(written, "l")), Style.values),
            trims=f"{markup.IM_START}user\nu{markup.IM_END}" in written,
        )

    def _thinking(self, written: str) -> Thinking:
        header = self.render(_PROBE[:1], prompt=True).rpartition(markup.IM_START)[2].rstrip()
        if header.endswith(markup.THINK):
            return Thinking.PROMPTED
        if header.endswith(markup.THINK_END):
            return Thinking.EMPTY
        return Thinking.OWN if _THOUGHT in written else Thinking.NONE

    def _after_results(self) -> str:
        try:
            written = self.render([*_PROBE, _RESULT])
        except ChatTemplateError:
            return ""  # a template without a tool's role; the renderer writes its own
        return _between(written, markup.TOOL_RESPONSE_END, markup.IM_END)

    def system(self, text: str, tools: Sequence[Mapping[str, Any]]) -> str:
        """The system turn's text for this policy and these tools.

        A template that doesn't write tools leaves them out: `writes_tools` says whether it does.
        """
        messages = [{"role": "system", "content": text}, {"role": "user", "content": "u"}]
        return _system_turn(self.render(messages, tools))

    @cached_property
    def default_system(self) -> str:
        """The system turn's text of a dialogue that has none; empty if there is no such turn."""
        return _system_turn(self.render(_PROBE[:1]))

    @cached_property
    def takes_later_system(self) -> bool:
        """True if it writes a system message that isn't the first: Qwen3.5's and later raise."""
        later = {"role": "system", "content": _TEXT}
        try:
            return _TEXT in self.render([{"role": "system", "content": "s"}, _PROBE[0], later])
        except ChatTemplateError:
            return False

    @cached_property
    def writes_tools(self) -> bool:
        """True if the template writes the list of tools into the system turn."""
        tool = {"type": "function", "function": {"name": _TEXT, "parameters": {}}}
        return _TEXT in self.system("", [tool])


def _between(text: str, before: str, after: str) -> str:
    """What is written between the last `before` and the next `after`; empty if one is missing."""
    _, found, rest = text.rpartition(before)
    inside, closed, _ = rest.partition(after)
    return inside if found and closed else ""


def _value(written: str, parameter: str) -> str:
    return _between(written, f"<parameter={parameter}>", "</parameter>").strip()


def _system_turn(text: str) -> str:
    turn = text.partition(f"{markup.IM_START}system\n")[2]
    return turn.partition(markup.IM_END)[0]


def load(folder: Path) -> ChatTemplate | None:
    """`chat_template.jinja`, or the entry of tokenizer_config.json; None if there is none."""
    file, config = folder / "chat_template.jinja", read_json(folder / "tokenizer_config.json")
    if file.is_file():
        try:
            source = file.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ChatTemplateError(f"The chat template {file} is no text in UTF-8.") from error
        return ChatTemplate(source, special_tokens(config))
    given = config.get("chat_template")
    if isinstance(given, list):
        named = {
            str(one.get("name")): one.get("template") for one in given if isinstance(one, dict)
        }
        # As transformers chooses for a request with tools, which every episode's is.
        given = named.get("tool_use") or named.get("default")
    return ChatTemplate(given, special_tokens(config)) if isinstance(given, str) else None


def special_tokens(config: Mapping[str, Any]) -> dict[str, str]:
    """What transformers passes to a template: without `eos_token`, turns would have no end."""
    given = {name: config.get(name) for name in _TOKEN_NAMES}
    # Each is a text, or an object of a tokenizer's own with the text in `content`.
    texts = {
        name: one.get("content") if isinstance(one, dict) else one for name, one in given.items()
    }
    return {name: text for name, text in texts.items() if isinstance(text, str)}


def read_json(path: Path) -> dict[str, Any]:
    """A small configuration file; empty if it is missing or isn't an object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _to_json(value: Any, **options: Any) -> str:
    """transformers' filter: unlike Jinja's own, it escapes nothing for HTML."""
    return json.dumps(value, **{"ensure_ascii": False, **options})


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)
