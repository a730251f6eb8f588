"""A family's chat template, changed to show a job's own prompts: for the folder that it exports.

Stock templates of thinking models (Qwen3 and later) drop the thoughts before the last question, and
empty ones within an exchange. An episode keeps both, so that each prompt begins with the exact
tokens of the one before; with `thinkingHistory: Strip` it drops the former as the template does. A
model that was trained so is exported with a template that does the same: whoever serves it asks
prompts that it knows, and `sea evaluate` on the export plays the protocol of the job's own
Evaluation.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sea_env.tokens.chat_template import ChatTemplate, ChatTemplateError, read_json, special_tokens
from sea_env.tokens.style import Thinking

_AFTER_LAST_QUESTION = re.compile(r"loop\.index0\s*>\s*ns\.\w+")
_ALL_UNLESS_TOLD = re.compile(
    r"preserve_thinking is undefined or preserve_thinking is true or\s+(?=loop\.)"
)
"""Qwen3.8's: it shows all thoughts unless a request says otherwise."""
_NOT_EMPTY = re.compile(r"\(loop\.last or \w+\)|loop\.last or \(not loop\.last and \w+\)")
_CALL = {"type": "function", "function": {"name": "f", "arguments": {}}}
_PROBE: list[dict[str, Any]] = [
    {"role": "user", "content": "u1"},
    {"role": "assistant", "content": "a1", "reasoning_content": "thought-1"},
    {"role": "user", "content": "u2"},
    {"role": "assistant", "content": "", "tool_calls": [_CALL]},
    {"role": "tool", "content": "r"},
    {"role": "assistant", "content": "a3", "reasoning_content": "thought-3"},
]


class UnknownTemplateRuleError(ValueError):
    """The template drops thoughts in a way that isn't known."""


def changed(source: str, *, strips_thoughts: bool, names: Mapping[str, str] | None = None) -> str:
    """The template's source as the job's prompts are; itself if the model has no thoughts.

    `names` are `ChatTemplate`'s. Raises UnknownTemplateRuleError.
    """
    try:
        if ChatTemplate(source, names).style().thinking is Thinking.NONE:
            return source
        kept = (
            _ALL_UNLESS_TOLD.sub("", source)
            if strips_thoughts
            else _AFTER_LAST_QUESTION.sub("true", source)
        )
        kept = _NOT_EMPTY.sub("true", kept)
        written = ChatTemplate(kept, names).render(_PROBE)
    except ChatTemplateError as error:
        raise UnknownTemplateRuleError(str(error)) from error
    # The first answer's thought, an empty one before the call, as the model writes it, and the
    # last one's.
    thoughts = written.count("<think>"), "thought-1" in written, "thought-3" in written
    if thoughts != ((2, False, True) if strips_thoughts else (3, True, True)):
        raise UnknownTemplateRuleError(
            "The chat template drops thoughts of earlier turns by a rule that isn't known."
        )
    return kept


def change_in_folder(folder: Path, *, strips_thoughts: bool) -> bool:
    """Changes the template of a model's folder in place; False if it stays as it is.

    Raises UnknownTemplateRuleError, and leaves the folder as it was.
    """
    file = folder / "chat_template.jinja"
    if file.is_file():
        source = file.read_text(encoding="utf-8")
        names = special_tokens(read_json(folder / "tokenizer_config.json"))
        kept = changed(source, strips_thoughts=strips_thoughts, names=names)
        if kept != source:
            file.write_text(kept, encoding="utf-8")
        return kept != source
    return _change_config(folder / "tokenizer_config.json", strips_thoughts)


def _change_config(path: Path, strips_thoughts: bool) -> bool:
    config = read_json(path)
    given = config.get("chat_template")
    found: Any = given

    def change(source: str) -> str:
        return changed(source, strips_thoughts=strips_thoughts, names=special_tokens(config))

    if isinstance(given, list):
        found = [
            {**entry, "template": change(entry["template"])}
            if isinstance(entry, dict) and isinstance(entry.get("template"), str)
            else entry
            for entry in given
        ]
    elif isinstance(given, str):
        found = change(given)
    if found == given:
        return False
    text = json.dumps({**config, "chat_template": found}, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
    return True
