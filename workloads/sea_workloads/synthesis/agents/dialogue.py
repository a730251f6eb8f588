"""Agent and simulated user, both played by the model, on a real environment."""

from collections.abc import Sequence
from typing import Any

from sea_workloads.episodes.conversation import Conversation, Over, UserNext
from sea_workloads.episodes.limits import Limits
from sea_workloads.synthesis.agents.endpoint import Endpoint, Meter
from sea_workloads.synthesis.proposal import Proposal
from sea_workloads.synthesis.worlds import World
from sea_workloads.tokens import calls, reader
from sea_workloads.tokens.markup import IM_END, TOOL_CALL, TOOL_CALL_END
from sea_workloads.tokens.messages import Message, calls_of
from sea_workloads.tokens.style import CallFormat, Style
from sea_workloads.users.base import Signal
from sea_workloads.users.prompt import GREETING, system_prompt

_LIMITS = Limits(max_turns=60, max_tokens_per_turn=1, context_length=1)
_STYLE = Style(CallFormat.QWEN25)
"""What the domain's prompt asks for, read with leniency: the model may be of any family."""
_EXCHANGED = {"assistant": "user", "user": "assistant"}


async def play(
    endpoint: Endpoint, world: World, given: Proposal, seed: int, meter: Meter
) -> list[dict[str, Any]]:
    """The dialogue's messages, without a system prompt; it may end in any way."""
    conversation = Conversation(world.domain, world.domain.open(world.database), _LIMITS)
    following = conversation.start()
    while not isinstance(following, Over):
        if isinstance(following, UserNext):
            asked = _as_user(given, following.heard)
            said = await endpoint.ask(asked, meter, temperature=0.7, seed=seed)
            following = conversation.user(said or Signal.STOP)
        else:
            asked = _as_agent(world, conversation.messages)
            said = await endpoint.ask(asked, meter, temperature=0.7, seed=seed)
            following = conversation.agent(reader.parse(said + IM_END, _STYLE))
    return conversation.messages


def _as_user(given: Proposal, heard: Sequence[Message]) -> list[dict[str, Any]]:
    turns = [{"role": _EXCHANGED[t["role"]], "content": t["content"]} for t in heard]
    opening = {"role": "user", "content": GREETING}
    return [{"role": "system", "content": system_prompt(given.scenario)}, opening, *turns]


def _as_agent(world: World, messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Calls and results as the text that the agent's prompt describes: any endpoint takes text."""
    turns = [{"role": "system", "content": world.system_prompt}]
    for message in messages:
        if message["role"] == "tool":
            content = f"<tool_response>\n{message['content']}\n</tool_response>"
            turns.append({"role": "user", "content": content})
        else:
            turns.append({"role": message["role"], "content": _written(message)})
    return turns


def _written(message: Message) -> str:
    parts = [str(message.get("content") or "")]
    for call in calls_of(message):
        written = calls.write(call["name"], call.get("arguments") or {}, _STYLE)
        parts.append(f"{TOOL_CALL}{written}{TOOL_CALL_END}")
    return "\n".join(parts).strip()
