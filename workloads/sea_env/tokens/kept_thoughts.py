"""A family's chat template, changed to show the thoughts of all turns as episodes do.

Stock templates of thinking models (Qwen3 and later) drop the thoughts before the last question.
An episode keeps them, so that each prompt begins with the exact tokens of the one before. A model
that was trained so is exported with this template: whoever serves it asks prompts that it knows,
and `sea evaluate` on the export plays the protocol of the job's own Evaluation.
"""

import json
import re
from pathlib import Path
from typing import Any

from sea_env.tokens.chat_template import ChatTemplate, ChatTemplateError, read_json
from sea_env.tokens.style import Thinking

_AFTER_LAST_QUESTION = re.compile(r"loop\.index0\s*>\s*ns\.\w+")
_NOT_EMPTY = re.compile(r"\(loop\.last or \w+\)|loop\.last or \(not loop\.last and \w+\)")
_PROBE: list[dict[str, Any]] = [
    {"role": "user", "content": "u1"},
    {"role": "assistant", "content": "a1", "reasoning_content": "thought-1"},
    {"role": "user", "content": "u2"},
    {"role": "assistant", "content": "a2"},
    {"role": "user", "content": "u3"},
]


class UnkeptThoughtsError(ValueError):
    """The template drops thoughts in a way that isn't known."""


def keep(source: str) -> str:
    """The template's source with the thoughts of all turns kept; itself if it has none.

    Raises UnkeptThoughtsError.
    """
    if ChatTemplate(source).style().thinking is Thinking.NONE:
        return source
    kept = _NOT_EMPTY.sub("true", _AFTER_LAST_QUESTION.sub("true", source))
    try:
        written = ChatTemplate(kept).render(_PROBE)
    except ChatTemplateError as error:
        raise UnkeptThoughtsError(str(error)) from error
    # The thought of the first answer, and an empty one before the second, as the model writes it.
    if "thought-1" not in written or written.count("<think>") != 2:
        raise UnkeptThoughtsError(
            "The chat template drops the thoughts of earlier turns by a rule that isn't known."
        )
    return kept


def keep_in_folder(folder: Path) -> bool:
    """Changes the template of a model's folder in place; False if it keeps nothing back.

    Raises UnkeptThoughtsError, and leaves the folder as it was.
    """
    file = folder / "chat_template.jinja"
    if file.is_file():
        source = file.read_text(encoding="utf-8")
        kept = keep(source)
        if kept != source:
            file.write_text(kept, encoding="utf-8")
        return kept != source
    return _keep_in_config(folder / "tokenizer_config.json")


def _keep_in_config(path: Path) -> bool:
    config = read_json(path)
    given = config.get("chat_template")
    if isinstance(given, list):
        kept: Any = [{**entry, "template": keep(entry["template"])} for entry in given]
    else:
        kept = keep(given) if isinstance(given, str) else given
    if kept == given:
        return False
    text = json.dumps({**config, "chat_template": kept}, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
    return True
