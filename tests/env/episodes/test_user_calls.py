"""A user with tools of its own: its calls act on its side, and the agent sees nothing of them."""

from typing import Any

import pytest

from sea_data.tiny_model import tokenizer
from sea_env.domains import initial_state, registry
from sea_env.domains.database import Database
from sea_env.episodes.conversation import AgentNext, Conversation, Over, UserNext, agent_view
from sea_env.episodes.episode import Done, Episode, NeedGeneration, NeedUser
from sea_env.episodes.limits import Limits, Stop
from sea_env.tokens.messages import AgentTurn, ToolCall
from sea_env.tokens.renderer import Renderer

MOCK = registry.get("mock")
LIMITS = Limits(max_turns=9, max_tokens_per_turn=500, context_length=4000)
NOTE = {"notification_id": "n1", "message": "Done?", "status": "unread", "task_id": None}
TASK = {"task_id": "task_1", "title": "T", "description": None, "status": "pending"}
DATABASE = Database(
    {"tasks": {"task_1": TASK}, "users": {"u": {"user_id": "u", "name": "U", "tasks": []}}},
    {"notifications": {"n1": NOTE}},
)
LOOK = AgentTurn("", (ToolCall("check_notifications", {}),))
DISMISS = AgentTurn("", (ToolCall("dismiss_notification", {"notification_id": "n1"}),))
HISTORY: list[dict[str, Any]] = [
    {"role": "user", "content": "A task, please."},
    {
        "role": "assistant",
        "tool_calls": [{"name": "create_task", "arguments": {"user_id": "u", "title": "X"}}],
    },
    {
        "role": "tool",
        "content": '{"task_id": "task_2", "title": "X", "description": null, "status": "pending"}',
    },
    {"role": "assistant", "content": "It is task_2."},
]


def begin(limits: Limits = LIMITS, history: Any = ()) -> Conversation:
    return Conversation(MOCK, MOCK.open(DATABASE), limits, history)


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(tokenizer.train(["user\n", "assistant\n"] * 3, 300))


def test_results_go_back_to_the_user_and_not_to_the_agent() -> None:
    conversation = begin()
    conversation.user("Hello")
    conversation.agent(AgentTurn("Look at your inbox."))
    following = conversation.user(LOOK)
    assert isinstance(following, UserNext)
    assert [message["role"] for message in following.heard] == ["user", "assistant", "user", "tool"]
    assert "Done?" in following.heard[-1]["content"]
    assert conversation.user("One is there.") == AgentNext(user_text="One is there.")
    seen = [message["content"] for message in agent_view(conversation.messages)]
    assert seen == ["Hello", "Look at your inbox.", "One is there."]


def test_calls_change_the_users_side_only() -> None:
    conversation = begin()
    conversation.user(DISMISS)
    assert conversation.environment.changes("user") == [
        {"path": "/notifications/n1/status", "value": "read"}
    ]
    assert conversation.environment.changes() == []
    assert conversation.turns == 0


def test_user_and_agent_do_not_have_each_others_tools() -> None:
    conversation = begin()
    conversation.user(AgentTurn("", (ToolCall("get_users", {}),)))
    assert conversation.messages[-1]["content"] == "Error: Tool 'get_users' not found."
    conversation.user("Hello")
    conversation.agent(LOOK)
    assert conversation.messages[-1]["content"] == "Error: Tool 'check_notifications' not found."


def test_a_malformed_call_is_answered_with_its_error() -> None:
    conversation = begin()
    following = conversation.user(AgentTurn("<tool_call>x", error="It isn't valid JSON."))
    assert isinstance(following, UserNext)
    assert following.heard[-1] == {
        "role": "tool",
        "requestor": "user",
        "content": "Error: It isn't valid JSON.",
    }
    assert agent_view(conversation.messages) == []


def test_a_user_that_only_acts_is_stopped() -> None:
    limits = Limits(max_turns=9, max_tokens_per_turn=1, context_length=1, max_user_calls=4)
    conversation = begin(limits)
    following: Any = conversation.start()
    count = 0
    while not isinstance(following, Over):
        following = conversation.user(LOOK)
        count += 1
    assert (following.stop, count) == (Stop.USER_STUCK, 5)


def test_a_text_between_calls_resets_the_count() -> None:
    limits = Limits(max_turns=99, max_tokens_per_turn=1, context_length=1, max_user_calls=2)
    conversation = begin(limits)
    for number in range(8):
        assert isinstance(conversation.user(LOOK), UserNext)
        assert isinstance(conversation.user(f"Seen {number}"), AgentNext)
        conversation.agent(AgentTurn(f"And {number}?"))


def test_the_users_calls_never_reach_the_agents_prompt(renderer: Renderer) -> None:
    episode = Episode(begin(), renderer, "Policy", LIMITS)
    assert episode.start() == NeedUser(())
    assert isinstance(episode.on_user(LOOK), NeedUser)
    first = episode.on_user("Hello")
    assert isinstance(first, NeedGeneration)
    assert renderer.decode(first.prompt) == (
        "<|im_start|>system\nPolicy<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    ids = renderer.agent_turn({"role": "assistant", "content": "Look."})
    before = [*episode.tokens, *ids]
    assert isinstance(episode.on_agent(ids, [0.0] * len(ids), [0] * len(ids)), NeedUser)
    assert isinstance(episode.on_user(DISMISS), NeedUser)
    assert episode.tokens == before
    assert isinstance(episode.on_user("Bye ###STOP###"), Done)


def test_a_dialogue_continues_where_its_history_ends(renderer: Renderer) -> None:
    state = {"message_history": HISTORY}
    messages = initial_state.messages(state)
    after_text = begin(history=messages).start()
    assert isinstance(after_text, UserNext)
    assert [message["content"] for message in after_text.heard] == [
        "A task, please.",
        "It is task_2.",
    ]
    assert begin(history=messages[:1]).start() == AgentNext(user_text="A task, please.")
    assert begin(history=messages[:3]).start() == AgentNext(results=[HISTORY[2]["content"]])
    bye = [{"role": "user", "content": "###STOP###"}]
    assert begin(history=bye).start() == Over(Stop.USER_STOP)


def test_a_history_is_in_the_first_prompt(renderer: Renderer) -> None:
    messages = initial_state.messages({"message_history": HISTORY})
    episode = Episode(begin(history=messages), renderer, "Policy", LIMITS)
    assert isinstance(episode.start(), NeedUser)
    effect = episode.on_user("Thanks")
    assert isinstance(effect, NeedGeneration)
    expected, _ = renderer.dialogue(
        [{"role": "system", "content": "Policy"}, *messages, {"role": "user", "content": "Thanks"}]
    )
    assert effect.prompt[: len(expected)] == expected
    assert sum(episode.mask) == 0
