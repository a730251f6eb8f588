"""One `sft` row as a dialogue, and a dialogue as an `sft` row.

`sft` selects the rows to train on; `perspective` shows a dialogue as the agent or the user sees it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from sea_data.errors import RowError
from sea_data.formats import foreign_rows, row_fields
from sea_data.formats.row_fields import typed_field
from sea_env.tokens import arguments as call_arguments
from sea_env.tokens import markup, tool_prompt
from sea_env.tokens.arguments import ArgumentsError
from sea_env.tokens.markup import TAGS, THINK, THINK_END
from sea_env.tokens.messages import Message, calls_of
from sea_env.tokens.style import BRIEF

_ROLES = ("assistant", "system", "tool", "user")
_THOUGHTS = ("thinking", "reasoning", "reasoning_content")
"""Published rows use `thinking` in answers and `reasoning` in earlier turns."""


@dataclass(frozen=True)
class Dialogue:
    """One dialogue; `messages` begin with the system prompt and end with the assistant."""

    id: str
    messages: tuple[Message, ...]
    scenario: Mapping[str, Any]
    turn_index: int = 0
    whole: bool = False
    """True if all assistant turns of the row are trained, not only its answer."""
    trained: frozenset[int] | None = None
    """Indices of the messages of both sides to train on; None for all."""
    domain: str = ""
    """Empty if neither scenario nor id names one."""
    user_tools: tuple[str, ...] | None = None
    """Names of the user's tools in this task; None for all of the domain."""
    file: str = ""
    """Which file has it: with `id`, what several rows of one dialogue have in common."""
    places: tuple[str, ...] = field(default=(), compare=False)
    """Of each message of a side (`perspective`), what its row calls it."""

    def place(self, index: int) -> str:
        """What the row calls the message, for errors: a side leaves out some of the row's."""
        if self.places:
            return self.places[index]
        return "answer" if index == len(self.messages) - 1 else f"messages[{index}]"


def dialogue(row: Mapping[str, Any], default_id: str = "") -> Dialogue:
    """One row as a dialogue, its answer appended; raises RowError naming the field."""
    foreign_rows.refuse_layout(row)
    metadata = typed_field(row, "metadata", dict)
    given = typed_field(row, "messages", list)
    messages = [_message(message, f"messages[{index}]") for index, message in enumerate(given)]
    if not messages:
        raise RowError("messages", "must hold at least one message")
    foreign_rows.check_results(given)
    messages = _with_tools(messages, foreign_rows.tools(row))
    answer = _message({**typed_field(row, "answer", dict), "role": "assistant"}, "answer")
    _refuse_filled(messages, answer)
    turn = metadata.get("turn_index", 0)
    if not isinstance(turn, int):
        raise RowError("metadata.turn_index", "must be an integer")
    succeeded(row)
    row_id = metadata.get("source_dialog_id")
    name = str(default_id if row_id is None else row_id)
    scenario = _scenario(metadata)
    return Dialogue(
        name,
        (*messages, answer),
        scenario,
        turn,
        metadata.get("whole_dialogue") is True,
        domain=str(row_fields.domain_of(name, metadata, scenario)),
        user_tools=_user_tools(metadata),
    )


def tools_of(messages: Sequence[Message]) -> Mapping[str, Mapping[str, Any]]:
    """JSON schema of the arguments by tool name, as the dialogue's own system prompt lists them."""
    first = messages[0] if messages else {}
    return _listed(str(first.get("content"))) if first.get("role") == "system" else {}


def _with_tools(
    messages: list[dict[str, Any]], tools: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The messages with the row's own list of tools in the system prompt, where prompts have it."""
    listed = tools_of(messages)
    if not tools or listed.keys() == tool_prompt.parameters(tools).keys():
        return messages
    if listed:
        raise RowError("tools", "differ from those that the row's system prompt lists: keep one")
    if messages[0]["role"] != "system":
        raise RowError("tools", "need a system message first, whose end lists them for the model")
    first = {**messages[0], "content": tool_prompt.write(messages[0]["content"], tools)}
    return [first, *messages[1:]]


@lru_cache(maxsize=16)  # most rows of a file have one of a few prompts
def _listed(prompt: str) -> Mapping[str, Mapping[str, Any]]:
    try:
        return tool_prompt.parameters(tool_prompt.split(prompt)[1])
    except (AttributeError, KeyError, TypeError):
        return {}  # a list of something else than function schemas


def _refuse_filled(messages: Sequence[Message], answer: Message) -> None:
    """Raises RowError for the first call that HF `datasets` filled with other calls' arguments."""
    tools = tools_of(messages)
    places = [(f"messages[{index}]", message) for index, message in enumerate(messages)]
    for place, message in [*places, ("answer", answer)] if tools else []:
        for number, call in enumerate(calls_of(message) if message["role"] == "assistant" else ()):
            names = call_arguments.filled_with_null(call["arguments"], tools.get(call["name"]))
            if names:
                raise RowError(
                    f"{place}.tool_calls[{number}].arguments",
                    f"has null for {', '.join(names)}, which {call['name']} doesn't take: HF "
                    "`datasets` fills calls like this (`sea data fix` removes it)",
                )


def _user_tools(metadata: Mapping[str, Any]) -> tuple[str, ...] | None:
    named = typed_field(metadata, "user_tools", list, "metadata.")
    if not all(isinstance(name, str) for name in named):
        raise RowError("metadata.user_tools", "must be a list of names")
    return None if metadata.get("user_tools") is None else tuple(named)


def _scenario(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    scenario = row_fields.user_scenario(metadata, "metadata.")
    if not scenario and metadata.get("reason_for_call"):
        return {"instructions": {"reason_for_call": metadata["reason_for_call"]}}
    return scenario


def succeeded(row: Mapping[str, Any]) -> bool:
    """True if the row's dialogue reached its goal, or if the row doesn't say."""
    metadata = typed_field(row, "metadata", dict)
    good = True
    for name in ("correct", "reward"):
        value = metadata.get(name)
        if value is not None and not isinstance(value, bool | int | float):
            raise RowError(f"metadata.{name}", "must be a number")
        good = good and value in (1, None)
    return good


def _message(value: Any, field: str) -> dict[str, Any]:
    if not isinstance(value, dict) or value.get("role") not in _ROLES:
        raise RowError(field, f"must be an object with a role of {', '.join(_ROLES)}")
    content = foreign_rows.content(value.get("content"), field)
    message: dict[str, Any] = {"role": value["role"], "content": content}
    thought = _thought(value, field) if value["role"] == "assistant" else ""
    if value["role"] == "assistant":
        inline, message["content"] = inline_thought(message["content"], field)
        if inline.strip() and thought:
            raise RowError(
                f"{field}.content",
                f"has {THINK_END}, and the message has a thought of its own: keep one of them",
            )
        thought = thought or inline
    foreign_rows.refuse_fields(value, field, has_thought=bool(thought.strip()))
    if thought.strip():
        message["thinking"] = thought
    calls = typed_field(value, "tool_calls", list, f"{field}.")
    if calls:
        message["tool_calls"] = [_call(c, f"{field}.tool_calls[{i}]") for i, c in enumerate(calls)]
    elif value["role"] == "assistant" and not message["content"].strip():
        raise RowError(field, "has neither text nor tool calls")
    if value["role"] == "tool" and value.get("requestor") == "user":
        message["requestor"] = "user"
    return message


def inline_thought(content: str, field: str) -> tuple[str, str]:
    """(thought, text) of an assistant's content that may begin with `<think>...</think>`.

    Qwen's templates read it the same way. Raises RowError for a tag anywhere else: it would be
    trained as text that spells a tag, which the reader of turns refuses.
    """
    before, closed, text = content.partition(THINK_END)
    thought = ""
    if closed:
        thought = before.strip("\n").removeprefix(THINK).strip("\n")
        content = text.lstrip("\n")
    spelled = next((tag for tag in TAGS if tag in thought or tag in content), "")
    if spelled:
        raise RowError(
            f"{field}.content",
            f"has {spelled} in the middle of a text: calls belong into tool_calls, thoughts into "
            "thinking (`sea data fix` repairs what it can)",
        )
    return thought, content


def _thought(value: Mapping[str, Any], field: str) -> str:
    for name in _THOUGHTS:
        thought = value.get(name)
        if thought is not None and not isinstance(thought, str):
            raise RowError(f"{field}.{name}", "must be text")
        if thought and thought.strip():
            return thought
    return ""


def _call(value: Any, field: str) -> dict[str, Any]:
    inner = value.get("function", value) if isinstance(value, dict) else None
    named = isinstance(inner, dict) and isinstance(inner.get("name"), str) and inner["name"]
    if not isinstance(inner, dict) or not named:
        raise RowError(field, "must be an object with a name")
    try:
        call = {"name": inner["name"], "arguments": call_arguments.read(inner.get("arguments"))}
    except ArgumentsError as error:
        raise RowError(f"{field}.arguments", str(error)) from error
    tag = markup.spelled_in_call(call, BRIEF)
    if tag:
        raise RowError(
            field, f"has {tag} in its name or arguments, which ends a call in any format"
        )
    return call


def dialogue_row(
    row_id: str,
    messages: Sequence[Message],
    scenario: Mapping[str, Any],
    reward: float,
    user_tools: Sequence[str] | None = None,
) -> dict[str, Any]:
    """One `sft` row that holds a whole dialogue: its last assistant turn is the answer.

    `whole_dialogue` in its metadata has all assistant turns trained, not only the answer. Messages
    after the last assistant turn (the user's ###STOP###) are left out. `user_tools` are the names
    of the user's tools in this task; None for all.
    """
    last = max(i for i, message in enumerate(messages) if message["role"] == "assistant")
    answer = messages[last]
    instructions = scenario.get("instructions") or {}
    turns = sum(message["role"] == "assistant" for message in messages)
    return {
        "messages": [dict(message) for message in messages[:last]],
        "answer": {
            "role": "assistant",
            "content": answer.get("content") or "",
            "thinking": answer.get("thinking"),
            "tool_calls": [dict(call) for call in calls_of(answer)],
        },
        "metadata": {
            "source_dialog_id": row_id,
            "turn_index": turns - 1,
            "reason_for_call": instructions.get("reason_for_call"),
            "correct": int(reward),
            "reward": reward,
            "whole_dialogue": True,
            "user_scenario": dict(scenario),
            **({} if user_tools is None else {"user_tools": list(user_tools)}),
        },
    }
