"""tau2-bench's rules of a dialogue: when it ends, and what the agent reads first.

The outcomes are those of tau2-bench's orchestrator on the same scripts; `make bench-tau2` runs both
side by side.
"""

from dataclasses import replace

import pytest

from sea_env.domains import registry
from sea_env.domains.database import Database
from sea_env.domains.overlay import Tables
from sea_env.episodes.conversation import AgentNext, Conversation, Over, UserNext
from sea_env.episodes.limits import Limits, Stop, tau2_protocol
from sea_env.tokens.messages import AgentTurn, ToolCall
from sea_env.users.prompt import GREETING

SHOP = registry.get("shop")
TAU2 = tau2_protocol(100, 10_000)
TABLES: Tables = {
    "users": {"K@s": {"name": "K"}},
    "orders": {},
    "desk": {"state": {"transferred": False}},
}
GOOD = ToolCall("find_user", {"email": "K@s"})
WRONG = ToolCall("find_user", {"email": "nobody"})


def begun(limits: Limits = TAU2) -> Conversation:
    conversation = Conversation(SHOP, SHOP.open(Database(TABLES)), limits)
    assert conversation.start() == UserNext(())
    return conversation


def test_the_agent_reads_its_greeting_first_and_the_user_does_not() -> None:
    conversation = begun()
    assert isinstance(conversation.user("Hello."), AgentNext)
    assert [one["content"] for one in conversation.messages] == [GREETING, "Hello."]
    following = conversation.agent(AgentTurn("Yes?"))
    assert isinstance(following, UserNext)
    assert [one["content"] for one in following.heard] == ["Hello.", "Yes?"]


def test_a_history_has_its_own_beginning_and_counts_no_steps() -> None:
    history = [{"role": "assistant", "content": "Yes?"}] * 5
    one_step = replace(TAU2, max_messages=2)
    conversation = Conversation(SHOP, SHOP.open(Database(TABLES)), one_step, history)
    assert conversation.start() == UserNext(tuple(history)) or conversation.messages == history
    assert isinstance(conversation.user("Hello."), AgentNext)
    assert conversation.agent(AgentTurn("Bye.")) == Over(Stop.MAX_MESSAGES)


@pytest.mark.parametrize(
    ("script", "stop"),
    [
        (["Hello.", AgentTurn("Yes?"), "###STOP###"], Stop.USER_STOP),
        (["Hello.", AgentTurn("Yes?")] * 2, None),
        # The limit of steps comes before the user's farewell in the same step.
        (["Hello.", AgentTurn("Yes?"), "So.", AgentTurn("Yes?"), "###STOP###"], Stop.MAX_MESSAGES),
        # A turn with calls and its results are two steps; the limit waits for the results.
        (["Hello.", AgentTurn("", (GOOD,)), AgentTurn("", (GOOD, GOOD))], Stop.MAX_MESSAGES),
        (["Hello.", AgentTurn("", (WRONG,) * 3)], Stop.TOOL_ERRORS),
        (["Hello.", AgentTurn("", (WRONG,) * 2), AgentTurn("Hm.")], None),
    ],
)
def test_it_ends_after_so_many_steps_or_errors(
    script: list[str | AgentTurn], stop: Stop | None
) -> None:
    conversation = begun(replace(TAU2, max_messages=5, max_tool_errors=3))
    for index, one in enumerate(script):
        following = conversation.user(one) if isinstance(one, str) else conversation.agent(one)
        assert not isinstance(following, Over) or index == len(script) - 1
    assert (following.stop if isinstance(following, Over) else None) == stop


def test_neither_turns_nor_repeats_end_it() -> None:
    conversation = begun()
    conversation.user("Hello.")
    for _ in range(60):
        following = conversation.agent(AgentTurn("", (GOOD,)))
    assert isinstance(following, AgentNext)
    assert begun(replace(TAU2, greeting=False)).messages == []
