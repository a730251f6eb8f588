"""Agent and simulated user, both played by the model, on a real environment."""

from collections.abc import Mapping, Sequence
from typing import Any

from sea_data.synthesis.agents.endpoint import Endpoint, Meter
from sea_data.synthesis.beginning import begin
from sea_data.synthesis.proposal import Proposal
from sea_data.synthesis.worlds import World
from sea_env.chat import text_of
from sea_env.episodes.conversation import Conversation, Over, UserNext
from sea_env.episodes.limits import Limits
from sea_env.tokens import reader
from sea_env.tokens.call_formats import write_call
from sea_env.tokens.markup import IM_END, TOOL_CALL, TOOL_CALL_END
from sea_env.tokens.messages import AgentTurn, Message, calls_of
from sea_env.tokens.style import CallFormat, Style
from sea_env.users import openai_chat
from sea_env.users.base import Reply, Signal
from sea_env.users.prompt import GREETING, system_prompt

_LIMITS = Limits(max_turns=60, max_tokens_per_turn=1, context_length=1)
_STYLE = Style(CallFormat.QWEN25)
"""What the domain's prompt asks for, read with leniency: the model may be of any family."""


async def play(
    endpoint: Endpoint, world: World, given: Proposal, seed: int, meter: Meter
) -> list[dict[str, Any]]:
    """The dialogue's messages, without a system prompt; it may end in any way."""
    domain, tools = world.domain, world.domain.user_tools
    opened = domain.open(begin(domain, world.database, given.initial_state))
    conversation = Conversation(domain, opened, _LIMITS)
    extra: dict[str, Any] = {"tools": [tool.schema() for tool in tools]} if tools else {}
    following = conversation.start()
    while not isinstance(following, Over):
        if isinstance(following, UserNext):
            asked = _as_user(given, following.heard, tools=bool(tools))
            reply = await endpoint.read(asked, _reply, meter, temperature=0.7, seed=seed, **extra)
            following = conversation.user(reply)
        else:
            asked = _as_agent(world, conversation.messages)
            said = await endpoint.ask(asked, meter, temperature=0.7, seed=seed)
            following = conversation.agent(reader.parse(said + IM_END, _STYLE))
    return conversation.messages


def _as_user(given: Proposal, heard: Sequence[Message], *, tools: bool) -> list[Mapping[str, Any]]:
    system = {"role": "system", "content": system_prompt(given.scenario, tools=tools)}
    return [system, {"role": "user", "content": GREETING}, *openai_chat.exchanged(heard)]


def _reply(message: Mapping[str, Any]) -> Reply:
    """A text, or calls of the user's own tools; an empty message ends the call."""
    text = text_of(message)
    if message.get("tool_calls"):
        return AgentTurn(text, openai_chat.calls(message["tool_calls"]))
    return text or str(Signal.STOP)


def _as_agent(world: World, messages: Sequence[Message]) -> list[Mapping[str, Any]]:
    """Calls and results as the text that the agent's prompt describes: any endpoint takes text."""
    turns: list[Mapping[str, Any]] = [{"role": "system", "content": world.system_prompt}]
    for message in messages:
        if message.get("requestor") == "user" or (message["role"] == "user" and calls_of(message)):
            continue  # what the user does on its own side is not the agent's to see
        if message["role"] == "tool":
            content = f"<tool_response>\n{message['content']}\n</tool_response>"
            turns.append({"role": "user", "content": content})
        else:
            turns.append({"role": message["role"], "content": _written(message)})
    return turns


def _written(message: Message) -> str:
    parts = [str(message.get("content") or "")]
    for call in calls_of(message):
        written = write_call(call["name"], call.get("arguments") or {}, _STYLE)
        parts.append(f"{TOOL_CALL}{written}{TOOL_CALL_END}")
    return "\n".join(parts).strip()
