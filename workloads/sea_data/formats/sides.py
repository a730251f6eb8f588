"""A dialogue as one side sees it: the agent's for SFT, the user's (roles exchanged) for UserSFT.

Neither sees the other's tool calls, their results, or the other's thoughts.
"""

from collections.abc import Iterator
from dataclasses import replace

from sea_data.formats.dialogue import Dialogue
from sea_data.formats.user_tools import of_dialogue
from sea_env.tokens import tool_prompt
from sea_env.tokens.messages import Message, calls_of
from sea_env.users.base import Signal
from sea_env.users.prompt import system_prompt

_TRANSFERRED = "TRANSFERRED TO A HUMAN"
Indexed = tuple[int, Message]


def agent_side(given: Dialogue) -> Dialogue:
    """Without what the user does on its own devices (telecom)."""
    kept = [
        (index, _words_of(message) if message["role"] == "user" else message)
        for index, message, caller in _with_callers(given)
        if caller != "user" and (message["role"] != "user" or message["content"])
    ]
    return _dialogue(given, kept)


def exchange(given: Dialogue) -> Dialogue:
    """The same dialogue from the user's side.

    The system prompt is the user model's, its tools listed as the served user sees them; the user's
    turns become the assistant's and the agent's texts the user's, but for what it writes beside a
    call (`users.base.spoken`). The user's closing signal is put back where the rows leave it out.
    """
    turns: list[Indexed] = [(-1, {"role": "system", "content": _user_prompt(given)})]
    for index, message, caller in _with_callers(given):
        if message["role"] == "user":
            turns.append((index, {**message, "role": "assistant"}))
        elif message["role"] == "assistant" and message["content"] and not calls_of(message):
            turns.append((index, {"role": "user", "content": message["content"]}))
        elif caller == "user":
            turns.append((index, message))
    last = len(given.messages) - 1
    if turns[-1][1]["role"] == "user":
        closing = _closing(str(turns[-1][1]["content"]))
        turns.append((last, {"role": "assistant", "content": closing}))
    return _dialogue(given, turns)


def _user_prompt(given: Dialogue) -> str:
    """What `users.model.ModelUser` begins with on a task of that scenario."""
    tools = of_dialogue(given)
    prompt = system_prompt(given.scenario, tools=bool(tools) or has_user_calls(given))
    return tool_prompt.write(prompt, [tool.schema() for tool in tools])


def _closing(last: str) -> str:
    """The signal that answers an agent's last text; the policies fix a transfer's words."""
    return str(Signal.TRANSFER if _TRANSFERRED in last.upper() else Signal.STOP)


def has_user_calls(given: Dialogue) -> bool:
    """Whether the user makes tool calls (telecom)."""
    return any(m["role"] == "user" and calls_of(m) for m in given.messages)


def _with_callers(given: Dialogue) -> Iterator[tuple[int, Message, str]]:
    """(index, message, who made the call that a tool message answers)."""
    caller = "assistant"
    for index, message in enumerate(given.messages):
        if message["role"] != "tool":
            caller = message["role"] if calls_of(message) else caller
            yield index, message, ""
        else:
            yield index, message, str(message.get("requestor") or caller)


def _words_of(message: Message) -> Message:
    return {"role": "user", "content": message["content"]} if calls_of(message) else message


def _dialogue(given: Dialogue, kept: list[Indexed]) -> Dialogue:
    trained = given.trained
    if trained is not None:
        trained = frozenset(new for new, (old, _) in enumerate(kept) if old in trained)
    return replace(given, messages=tuple(message for _, message in kept), trained=trained)
