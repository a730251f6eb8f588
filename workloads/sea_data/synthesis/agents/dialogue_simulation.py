"""Simulates a dialogue: the model plays agent and user on a real environment."""

from collections.abc import Mapping, Sequence
from typing import Any

from sea_data.synthesis.agents.model_client import ModelClient, TokenMeter
from sea_data.synthesis.candidate import Candidate
from sea_data.synthesis.source_database import SourceDatabase, initial_database
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

# At this level there are no tokens: only turns and loops are limited.
_LIMITS = Limits(max_turns=60, max_tokens_per_turn=1, context_length=1)
_STYLE = Style(CallFormat.QWEN25)
"""The form that the domain's prompt asks for, read leniently: the model may be of any family."""


async def simulate(
    client: ModelClient, source: SourceDatabase, candidate: Candidate, seed: int, meter: TokenMeter
) -> list[dict[str, Any]]:
    """The dialogue's messages, without a system prompt. It may end in any way."""
    domain, tools = source.domain, source.domain.user_tools
    opened = domain.open(initial_database(domain, source.database, candidate.initial_state))
    conversation = Conversation(domain, opened, _LIMITS)
    extra: dict[str, Any] = {"tools": [tool.schema() for tool in tools]} if tools else {}
    following = conversation.start()
    while not isinstance(following, Over):
        if isinstance(following, UserNext):
            asked = _as_user(candidate, following.heard, tools=bool(tools))
            reply = await client.read(asked, _reply, meter, temperature=0.7, seed=seed, **extra)
            following = conversation.user(reply)
        else:
            asked = _as_agent(source, conversation.messages)
            said = await client.ask(asked, meter, temperature=0.7, seed=seed)
            # Endpoints leave the end tag out; without it the turn would count as truncated.
            following = conversation.agent(reader.parse(said + IM_END, _STYLE))
    return conversation.messages


def _as_user(
    candidate: Candidate, heard: Sequence[Message], *, tools: bool
) -> list[Mapping[str, Any]]:
    system = {"role": "system", "content": system_prompt(candidate.scenario, tools=tools)}
    return [system, {"role": "user", "content": GREETING}, *openai_chat.exchanged(heard)]


def _reply(message: Mapping[str, Any]) -> Reply:
    """A text, or calls of the user's own tools. An empty message ends the dialogue."""
    text = text_of(message)
    if message.get("tool_calls"):
        return AgentTurn(text, openai_chat.calls(message["tool_calls"]))
    return text or str(Signal.STOP)


def _as_agent(source: SourceDatabase, messages: Sequence[Message]) -> list[Mapping[str, Any]]:
    """Calls and results as text in the form of the agent's prompt, which any endpoint accepts."""
    turns: list[Mapping[str, Any]] = [{"role": "system", "content": source.system_prompt}]
    for message in messages:
        if message.get("requestor") == "user" or (message["role"] == "user" and calls_of(message)):
            continue  # the agent doesn't see what the user does on its own side
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
