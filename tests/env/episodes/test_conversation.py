"""The dialogue's rules at message level."""

from sea_env.domains import registry
from sea_env.domains.database import Database
from sea_env.episodes.conversation import AgentNext, Conversation, Over
from sea_env.episodes.limits import Limits, Stop
from sea_env.tokens.messages import AgentTurn, ToolCall

RETAIL = registry.get("retail")
EMPTY = Database({"products": {}, "users": {}, "orders": {}})
LIMITS = Limits(max_turns=50, max_tokens_per_turn=1, context_length=1)


def test_a_bad_turn_is_answered_with_its_error_up_to_the_limit() -> None:
    conversation = Conversation(RETAIL, RETAIL.open(EMPTY), LIMITS)
    conversation.user("Hello")
    bad = AgentTurn("x", error="The tool call isn't valid JSON.")
    answers = [conversation.agent(bad) for _ in range(RETAIL.max_bad_turns + 1)]
    assert answers[0] == AgentNext(results=["Error: The tool call isn't valid JSON."])
    assert answers[-1] == Over(Stop.BAD_FORMAT)
    assert conversation.messages[1]["error"] == bad.error


def test_several_calls_of_one_turn_are_all_answered() -> None:
    conversation = Conversation(RETAIL, RETAIL.open(EMPTY), LIMITS)
    conversation.user("Hello")
    calls = (ToolCall("list_all_product_types", {}), ToolCall("nope", {"a": 1}))
    assert conversation.agent(AgentTurn("", calls)) == AgentNext(
        results=["{}", "Error: Tool 'nope' not found."]
    )
    assert [m["role"] for m in conversation.messages] == ["user", "assistant", "tool", "tool"]
