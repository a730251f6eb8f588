"""A model folder's tokenizer and style: from its chat template, or its tokens if it has none."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from sea_env.errors import EnvError
from sea_env.tokens import chat_template, markup, template_check
from sea_env.tokens.chat_template import ChatTemplate, ChatTemplateError
from sea_env.tokens.style import BRIEF, CallFormat, Style, Thinking

FILES = ("tokenizer_config.json", "chat_template.jinja")
"""What a renderer reads in addition to tokenizer.json and config.json; either may be missing."""


class UnsuitableTokenizerError(EnvError, ValueError):
    """No turn can be framed with this folder's tokenizer or chat template."""


def tokenizer(folder: Path) -> Any:
    """The folder's fast tokenizer; raises UnsuitableTokenizerError."""
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise UnsuitableTokenizerError(
            f"{folder} holds no tokenizer.json: point to a model's folder in Hugging Face layout."
        )
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises plain Exception
        raise UnsuitableTokenizerError(f"{file} can't be read: {error}.") from error


def style(
    folder: Path, made: Any, calls: CallFormat | None = None
) -> tuple[Style, ChatTemplate | None]:
    """The folder's style and template; `calls` overrides the format of the calls.

    Raises UnsuitableTokenizerError, also for a template that writes turns in another form.
    """
    try:
        template = chat_template.load(folder)
        found = _from_template(folder, template) if template else _from_tokens(made)
        differs = template_check.mismatch(template, found, calls=calls is None) if template else ""
    except ChatTemplateError as error:
        raise UnsuitableTokenizerError(
            f"{error} It comes with the model in {folder}: correct it there, or remove it."
        ) from error
    if differs:
        raise UnsuitableTokenizerError(
            f"The chat template of the model in {folder} writes {differs}: it isn't of a family "
            "that can be trained and served here. Those of Qwen2.5, Qwen3 and later can (their "
            "table is in docs/models.md)."
        )
    return (replace(found, calls=calls, brief=False) if calls else found), template


def _from_template(folder: Path, template: ChatTemplate) -> Style:
    kind = chat_template.read_json(folder / "config.json").get("model_type")
    return template.style(str(kind or ""))


def _from_tokens(tokenizer: Any) -> Style:
    """The style without a template: Qwen3's if there are thinking tokens, else the tiny model's."""
    if tokenizer.token_to_id(markup.THINK) is None:
        return BRIEF
    return Style(thinking=Thinking.OWN)
