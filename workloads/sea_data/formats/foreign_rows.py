"""Dialogue rows as other programs write them: read exactly where they say the same, or refused.

`dialogue` asks here before it reads a row. A field that changes what is trained, and that nothing
here follows, must not pass silently: another program's list of tools, weights of messages, thoughts
under another name. Names are those of OpenAI's fine-tuning files, TRL, axolotl, LLaMA-Factory,
OpenRouter and Anthropic's messages, and of published data (ShareGPT, xLAM, APIGen-MT, ToolACE).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sea_data.errors import RowError
from sea_env.tokens import plain_json, tool_prompt

_SHAPES: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"conversations"}), "ShareGPT's"),
    (frozenset({"conversation"}), "ShareGPT's"),
    (frozenset({"chosen", "rejected"}), "that of preference pairs"),
    (frozenset({"query", "answers"}), "xLAM's"),
    (frozenset({"prompt", "completion"}), "that of prompts and completions"),
    (frozenset({"instruction", "output"}), "Alpaca's"),
)
"""Fields, all of which a row of another layout has, and whose it is."""
_LAYOUT = (
    "write `messages` (system, user, assistant, tool), with the last assistant message in `answer` "
    "(docs/data-formats.md)"
)
_OF_ROW = {
    "functions": "write `tools`, a list of OpenAI function schemas",
    "chat_template_kwargs": "the model's chat template is rendered without settings",
    "images": "only text is trained",
    "videos": "only text is trained",
    "audios": "only text is trained",
}
"""Fields of a row that nothing here follows, and what to do instead."""
_OF_MESSAGE = {
    "function_call": "write `tool_calls`",
    "images": "only text is trained",
    "audio": "only text is trained",
    "prefix": "an answer that is begun by the prompt can't be trained",
}
_WEIGHTS = ("weight", "train", "trainable", "training", "loss")
"""Whether a message is trained on: OpenAI's `weight`, axolotl's `train` and `training`."""
_OTHER_THOUGHTS = ("reasoning_details", "thinking_blocks", "thought", "thoughts")


def layout(row: Mapping[str, Any]) -> str:
    """Names the program whose layout a row without `messages` has; empty if unknown."""
    if "messages" in row:
        return ""
    return next((whose for fields, whose in _SHAPES if fields <= row.keys()), "")


def refuse_layout(row: Mapping[str, Any]) -> None:
    """Raises RowError for a row of another layout, or with fields that nothing follows."""
    whose = layout(row)
    if whose:
        raise RowError("messages", f"is missing: the row's layout is {whose}; {_LAYOUT}")
    if row.get("messages") and row.get("answer") is None:
        raise RowError(
            "answer",
            "is missing: take the last assistant message out of `messages`, and set "
            "`metadata.whole_dialogue` to true if all assistant messages are to be trained",
        )
    _refuse(row, _OF_ROW, "")


def refuse_fields(message: Mapping[str, Any], field: str, *, has_thought: bool) -> None:
    """Raises RowError for what a message says and nothing here follows."""
    _refuse(message, _OF_MESSAGE, f"{field}.")
    if message.get("role") != "assistant":
        return
    for name in _WEIGHTS:
        if message.get(name, 1) not in (1, True, None):
            raise RowError(
                f"{field}.{name}",
                "isn't followed: a row trains its answer, or all assistant messages with "
                "`metadata.whole_dialogue`; make rows of the messages that are to be trained",
            )
    other = next((name for name in _OTHER_THOUGHTS if message.get(name)), "")
    if other and not has_thought:
        raise RowError(f"{field}.{other}", "isn't read: write the thought as text in `thinking`")


def _refuse(given: Mapping[str, Any], unread: Mapping[str, str], path: str) -> None:
    found = next((name for name in unread if given.get(name)), "")
    if found:
        raise RowError(f"{path}{found}", f"isn't read: {unread[found]}")


def content(given: Any, field: str) -> str:
    """A message's content: text, or OpenAI's list of text parts, joined; raises RowError."""
    if given is None or isinstance(given, str):
        return given or ""
    if not isinstance(given, list):
        raise RowError(f"{field}.content", "must be text")
    texts = [
        part.get("text")
        for part in given
        if isinstance(part, dict) and part.get("type", "text") == "text"
    ]
    if len(texts) < len(given) or not all(isinstance(text, str) for text in texts):
        raise RowError(f"{field}.content", "must be text: other parts than text can't be trained")
    return "".join(map(str, texts))


def tools(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """OpenAI function schemas of the row's `tools`, a list or the text of one; raises RowError."""
    given = row.get("tools")
    if isinstance(given, str) and given.strip():
        try:
            given = plain_json.loads(given)
        except ValueError as error:
            raise RowError("tools", f"isn't valid JSON: {error}") from error
    if not given:
        return []
    if not isinstance(given, list):
        raise RowError("tools", "must be a list of OpenAI function schemas")
    for index, one in enumerate(given):
        function = one.get("function") if isinstance(one, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise RowError(
                f"tools[{index}]",
                'must be an OpenAI function schema: {"type": "function", "function": {"name": '
                '..., "parameters": ...}}',
            )
        try:
            tool_prompt.parameters([one])
        except (AttributeError, TypeError) as error:
            raise RowError(
                f"tools[{index}].function.parameters", f"is no JSON schema of an object: {error}"
            ) from error
    return given


def check_results(messages: Sequence[Mapping[str, Any]]) -> None:
    """Raises RowError where ids say that a result answers another call than its place does.

    A chat template writes results in the order of the messages, without ids.
    """
    waiting: list[Any] = []
    for index, message in enumerate(messages):
        if message.get("role") != "tool":
            calls = message.get("tool_calls") or ()
            waiting = [call.get("id") for call in calls if isinstance(call, dict)]
            continue
        answered, due = message.get("tool_call_id"), waiting.pop(0) if waiting else None
        if answered and due and answered != due:
            raise RowError(
                f"messages[{index}].tool_call_id",
                f"is {answered!r}, and the call in this place is {due!r}: results must come in the "
                "order of the calls",
            )
