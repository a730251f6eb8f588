"""A dialogue from one side: the agent's for SFT, the user's (roles exchanged) for UserSFT.

Neither side sees the other's tool calls, their results, or the other's thoughts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from sea_data.errors import RowError
from sea_data.formats.dialogue import Dialogue
from sea_env.domains import registry
from sea_env.domains.base import Domain, Tool
from sea_env.tokens import tool_prompt
from sea_env.tokens.markup import TAGS
from sea_env.tokens.messages import Message, calls_of
from sea_env.users.base import Signal, named_user_tools
from sea_env.users.prompt import system_prompt


def user_tools_of(given: Dialogue) -> Sequence[Tool]:
    """The user's tools in the dialogue's task; none if its domain is unknown."""
    domain = _named(given.domain) or _with_tools(_called_by_user(given))
    return named_user_tools(domain, given.user_tools) if domain else ()


def _named(domain: str) -> Domain | None:
    try:
        return registry.get(domain)
    except registry.UnknownDomainError:
        return None


def _called_by_user(given: Dialogue) -> frozenset[str]:
    turns = (message for message in given.messages if message["role"] == "user")
    return frozenset(call["name"] for turn in turns for call in calls_of(turn))


def _with_tools(called: frozenset[str]) -> Domain | None:
    """The domain whose users have these tools, since published rows don't always name a domain."""
    if not called:
        return None
    domains = (domain for name in registry.names() if (domain := _named(name)) is not None)
    return next((d for d in domains if called <= {tool.name for tool in d.user_tools}), None)


_TRANSFERRED = "TRANSFERRED TO A HUMAN"
Indexed = tuple[int, Message]


def agent_side(given: Dialogue) -> Dialogue:
    """The dialogue without what the user does on its own devices (telecom)."""
    kept = [
        (index, _words_of(message) if message["role"] == "user" else message)
        for index, message, caller in _with_callers(given)
        if caller != "user" and (message["role"] != "user" or message["content"])
    ]
    return _dialogue(given, kept)


def exchange(given: Dialogue) -> Dialogue:
    """The same dialogue from the user's side.

    The system prompt is the user model's, with its tools listed as for a served user. The user's
    turns become the assistant's. The agent's texts become the user's, except for text next to a
    call (`users.base.spoken`). A closing signal that the rows leave out is added again.
    """
    turns: list[Indexed] = [(-1, {"role": "system", "content": _user_prompt(given)})]
    for index, message, caller in _with_callers(given):
        if message["role"] == "user":
            _refuse_tags(index, str(message["content"]))
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


def _refuse_tags(index: int, text: str) -> None:
    """The user's turns are trained here: text that spells a tag is no turn that could be read."""
    spelled = next((tag for tag in TAGS if tag in text), "")
    if spelled:
        raise RowError(f"messages[{index}].content", f"has {spelled}, which no user can say")


def _user_prompt(given: Dialogue) -> str:
    """The system prompt of `users.model.ModelUser` on a task of that scenario."""
    tools = user_tools_of(given)
    prompt = system_prompt(given.scenario, tools=bool(tools) or has_user_calls(given))
    return tool_prompt.write(prompt, [tool.schema() for tool in tools])


def _closing(last: str) -> str:
    """The signal that answers an agent's last text; the policies fix the words of a transfer."""
    return str(Signal.TRANSFER if _TRANSFERRED in last.upper() else Signal.STOP)


def has_user_calls(given: Dialogue) -> bool:
    """True if the user makes tool calls (telecom)."""
    return any(m["role"] == "user" and calls_of(m) for m in given.messages)


def _with_callers(given: Dialogue) -> Iterator[tuple[int, Message, str]]:
    """(index, message, role whose call a tool message answers) of all messages."""
    caller = "assistant"
    for index, message in enumerate(given.messages):
        if message["role"] != "tool":
            # Results follow the turn that made the calls; published rows name no caller.
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
    places = tuple(given.place(old) for old, _ in kept)
    messages = tuple(message for _, message in kept)
    return replace(given, messages=messages, trained=trained, places=places)
