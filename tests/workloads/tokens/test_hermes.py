"""Whatever the model writes becomes a turn: text, calls, or a sentence on what was wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sea_workloads.tokens import hermes, markup
from sea_workloads.tokens.messages import ToolCall

END = "<|im_end|>"


def test_text_and_calls() -> None:
    turn = hermes.parse(
        'Let me see.<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>\n'
        '<tool_call>{"name": "g"}</tool_call><|im_end|>ignored'
    )
    assert (turn.text, turn.complete, turn.error) == ("Let me see.", True, "")
    assert turn.tool_calls == (ToolCall("f", {"a": 1}), ToolCall("g", {}))


def test_thinking_is_set_apart() -> None:
    turn = hermes.parse(f"<think>\nhm\n</think>\n\nHello{END}")
    assert (turn.text, turn.thinking, turn.error) == ("Hello", "hm", "")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Hello", "token limit"),
        (END, "is empty"),
        (f"<tool_call>{{}}{END}", "does not close"),
        (f"a</tool_call>{END}", "did not open"),
        (f"<tool_call>{{nope</tool_call>{END}", "isn't valid JSON"),
        (f"<tool_call>[1]</tool_call>{END}", "isn't a JSON object"),
        (f"<tool_call>{{}}</tool_call>{END}", "has no name"),
        (f'<tool_call>{{"name":"f","arguments":3}}</tool_call>{END}', "aren't a JSON object"),
        (f'<tool_call>{{"name":"f","x":3}}</tool_call>{END}', "unknown key 'x'"),
        (f'<tool_call>{{"name":"f","arguments":{{"a":NaN}}}}</tool_call>{END}', "NaN"),
        (f"<tool_call>{'[' * 100_000}</tool_call>{END}", "isn't valid JSON"),
        (f'<tool_call>{{"name":"f\\ud800"}}</tool_call>{END}', "surrogate"),
        (f'<tool_call>{{"name":"f","arguments":{{"a":1e999}}}}</tool_call>{END}', "too large"),
        (f'<tool_call>{{"name":"f","arguments":{{"a":{2**64}}}}}</tool_call>{END}', "64 bits"),
        (f'<tool_call>{{"name":"f","arguments":{{"a":{"9" * 9999}}}}}</tool_call>{END}', "digits"),
        (f'<tool_call>{{"name":"f","arguments":{"[" * 40 + "]" * 40}}}</tool_call>{END}', "deeply"),
        (f"a<|im_start|>b{END}", "reserved tag"),
    ],
)
def test_malformed_turns_say_why(text: str, sentence: str) -> None:
    turn = hermes.parse(text)
    assert sentence in turn.error
    assert turn.tool_calls == ()


PIECES = st.sampled_from(
    [
        *markup.SPECIAL_TOKENS,
        '{"name":',
        '"f"',
        ',"arguments":{',
        "}",
        "[",
        "1e999",
        "\\u",
        "é",
        " ",
    ]
)


@given(st.lists(st.one_of(PIECES, st.text(max_size=5)), max_size=20))
def test_nothing_raises(pieces: list[str]) -> None:
    turn = hermes.parse("".join(pieces))
    assert not (turn.error and turn.tool_calls)
    assert turn.error or turn.text or turn.tool_calls
