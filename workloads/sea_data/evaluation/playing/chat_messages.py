"""An episode's messages as an endpoint wants them. Pure.

Our own messages are flat: calls without ids, results in the order of the calls. The user's own
tool calls and their results are none of the agent's business and are left out.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sea_env.episodes.conversation import agent_view
from sea_env.request_form import REASONING, call_id
from sea_env.tokens.call_formats import call_json
from sea_env.tokens.markup import (
    TOOL_CALL,
    TOOL_CALL_END,
    TOOL_RESPONSE,
    TOOL_RESPONSE_END,
)
from sea_env.tokens.messages import Message, calls_of

Step = tuple[Message, Sequence[Message]]
"""A turn and the results of its calls (of a malformed turn: the answer to it)."""


def native(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages with `tool_calls`, and `tool` messages that name the call they answer."""
    shown: list[dict[str, Any]] = []
    made = 0
    for turn, results in steps(agent_view(messages)):
        if turn["role"] != "assistant":
            shown += _said_by_user(turn)
            continue
        calls = [_native_call(call, call_id(made + i)) for i, call in enumerate(calls_of(turn))]
        made += len(calls)
        said = {"role": "assistant", "content": turn.get("content") or ("" if not calls else None)}
        shown.append({**said, **_thoughts(turn), **({"tool_calls": calls} if calls else {})})
        if not calls:
            # A malformed turn was answered, but no call is there that the answer could name.
            shown += [{"role": "user", "content": result["content"]} for result in results]
            continue
        shown += [
            {"role": "tool", "tool_call_id": call["id"], "content": result["content"]}
            for call, result in zip(calls, results, strict=False)
        ]
    return shown


def tagged(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages with Hermes tags in the text, for servers that don't support tools."""
    shown: list[dict[str, Any]] = []
    for turn, results in steps(agent_view(messages)):
        if turn["role"] != "assistant":
            shown += _said_by_user(turn)
            continue
        calls = "".join(
            f"{TOOL_CALL}{call_json(call['name'], call.get('arguments') or {})}{TOOL_CALL_END}"
            for call in calls_of(turn)
        )
        said = {"role": "assistant", "content": f"{turn.get('content') or ''}{calls}"}
        shown.append({**said, **_thoughts(turn)})
        answers = [f"{TOOL_RESPONSE}{result['content']}{TOOL_RESPONSE_END}" for result in results]
        if answers:
            shown.append({"role": "user", "content": "".join(answers)})
    return shown


def steps(messages: Sequence[Message]) -> Iterator[Step]:
    """Turns with the `tool` messages that follow them."""
    turn: Message | None = None
    results: list[Message] = []
    for message in messages:
        if message["role"] == "tool":
            results.append(message)
            continue
        if turn is not None:
            yield turn, results
        turn, results = message, []
    if turn is not None:
        yield turn, results


def _thoughts(turn: Message) -> dict[str, Any]:
    """What the agent thought, of every turn.

    The model's own template decides which thoughts it shows again: Qwen3's those after the last
    question, one that a job exported perhaps all. DeepSeek refuses a tool loop without them.
    """
    thinking = turn.get("thinking")
    return {REASONING: thinking} if thinking else {}


def _said_by_user(turn: Message) -> list[dict[str, Any]]:
    return [{"role": "user", "content": turn["content"]}] if turn.get("content") else []


def _native_call(call: Mapping[str, Any], identity: str) -> dict[str, Any]:
    arguments = json.dumps(call.get("arguments") or {}, ensure_ascii=False)
    function = {"name": call["name"], "arguments": arguments}
    return {"id": identity, "type": "function", "function": function}
