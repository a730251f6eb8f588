"""Whatever the model writes becomes a turn: text, calls, or a sentence on what was wrong."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sea_env.tokens import markup, reader
from sea_env.tokens.messages import MAX_CALLS, TOO_MANY_CALLS, AgentTurn, ToolCall
from sea_env.tokens.style import BRIEF, CallFormat, Style, Thinking

END = "<|im_end|>"


def test_text_and_calls() -> None:
    turn = reader.parse(
        'Let me see.<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>\n'
        '<tool_call>{"name": "g"}</tool_call><|im_end|>ignored'
    )
    assert (turn.text, turn.complete, turn.error) == ("Let me see.", True, "")
    assert turn.tool_calls == (ToolCall("f", {"a": 1}), ToolCall("g", {}))


@pytest.mark.parametrize("piece", [1, 7, 10_000_000])
def test_a_turn_with_thousands_of_calls_is_none(piece: int) -> None:
    """Told as a sentence; what comes after the 64th is not even parsed."""
    most = '<tool_call>{"name": "f"}</tool_call>' * MAX_CALLS
    assert len(reader.parse(most + END).tool_calls) == MAX_CALLS == 64
    text = most + "<tool_call>[</tool_call>" * 3000 + END
    found = reader.TurnReader()
    for start in range(0, len(text), piece):
        found.feed(text[start : start + piece])
    turn = found.close()
    assert (turn.tool_calls, turn.complete, turn.error) == ((), True, TOO_MANY_CALLS)
    assert len(found.calls) == MAX_CALLS


def test_thinking_is_set_apart() -> None:
    turn = reader.parse(f"<think>\nhm\n</think>\n\nHello{END}")
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
    turn = reader.parse(text)
    assert sentence in turn.error
    assert turn.tool_calls == ()


STYLES = [Style(calls, thinking) for calls in CallFormat for thinking in Thinking]
PARAMETERS = {
    "f": {
        "properties": {
            "s": {"type": "string"},
            "i": {"type": "integer"},
            "x": {"type": "number"},
            "b": {"type": "boolean"},
            "l": {"type": "array"},
            "n": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "u": {"type": ["string", "integer"]},
            "e": {"enum": [1, 2]},
            "d": {"type": "dict"},
            "t": {"type": "str"},
            "a": {"allOf": [{"type": "number"}]},
            "r": {"anyOf": [{"$ref": "#/$defs/Cabin"}, {"type": "null"}]},
            "g": {"type": "STRING"},
            "v": {"type": ["string", "uint64"]},
        }
    }
}


@pytest.mark.parametrize(
    ("inside", "call"),
    [
        ('{"name": "f", "parameters": {"a": 1}}', ToolCall("f", {"a": 1})),
        ('{"name": "f", "arguments": "{\\"a\\": 1}"}', ToolCall("f", {"a": 1})),
        ('{"name": "f", "arguments": "{"}', "aren't valid JSON"),
        ('{"name": "f", "arguments": "3"}', "aren't a JSON object"),
        ('{"name": "f", "arguments": {}, "parameters": {}}', "both arguments and parameters"),
    ],
)
def test_what_qwen25_writes(inside: str, call: ToolCall | str) -> None:
    turn = reader.parse(f"<tool_call>\n{inside}\n</tool_call>{END}", Style(CallFormat.QWEN25))
    if isinstance(call, str):
        assert call in turn.error
    else:
        assert turn.tool_calls == (call,)
    assert reader.parse(f"<tool_call>{inside}</tool_call>{END}").error, "Hermes is stricter"


@pytest.mark.parametrize("given", ["null", '"null"', '""', '" "', "{}", '"{}"'])
@pytest.mark.parametrize("calls", [CallFormat.HERMES, CallFormat.QWEN25])
def test_what_models_write_for_no_arguments(calls: CallFormat, given: str) -> None:
    if calls is CallFormat.HERMES and given == '"{}"':
        return  # a string that holds an object is Qwen2.5's
    text = f'<tool_call>{{"name": "f", "arguments": {given}}}</tool_call>{END}'
    assert reader.parse(text, Style(calls)).tool_calls == (ToolCall("f", {}),)


JSON_CALL = '{"name": "f", "arguments": {"i": 1}}'
XML_CALL = "<function=f>\n<parameter=i>\n1\n</parameter>\n</function>"
HERMES, XML = Style(), Style(CallFormat.QWEN3_XML)
PROMPTED_XML = Style(CallFormat.QWEN3_XML, Thinking.PROMPTED)
OWN = Style(thinking=Thinking.OWN)


@pytest.mark.parametrize(
    ("style", "text", "sentence"),
    [
        (XML, f"I'll look.\n\n{XML_CALL}", "<function= outside of"),
        (XML, f"I'll look.\n\n{XML_CALL}\n</tool_call>", "did not open"),
        (XML, "Done.</function>", "</function> outside of"),
        (XML, "Done. <parameter=i>", "<parameter= outside of"),
        (HERMES, JSON_CALL, "without <tool_call>"),
        (HERMES, f"{JSON_CALL}\n</tool_call>", "did not open"),
        (PROMPTED_XML, f"so\n<tool_call>\n{XML_CALL}\n</tool_call>\n</think>", "within its th"),
        (
            PROMPTED_XML,
            f"so\n<tool_call>\n{XML_CALL}\n</tool_call>\n</think>\n\nDone.",
            "within its thinking",
        ),
        (
            PROMPTED_XML,
            f"<tool_call>\n{XML_CALL}\n</tool_call></think><tool_call>\n{XML_CALL}\n</tool_call>",
            "within its thinking",
        ),
        (OWN, f"<think><tool_call>{JSON_CALL}</tool_call></think>Done.", "within its thinking"),
        (HERMES, "Your email?<|endoftext|>", "end it with <|im_end|>"),
        (
            HERMES,
            f"<tool_call>{JSON_CALL}<tool_call>{JSON_CALL}</tool_call>",
            "isn't valid JSON",
        ),
    ],
)
def test_a_call_where_none_is_made_is_neither_said_nor_dropped(
    style: Style, text: str, sentence: str
) -> None:
    turn = reader.parse(text + END, style, PARAMETERS)
    assert sentence in turn.error
    assert turn.tool_calls == ()


@pytest.mark.parametrize("text", ["Bye.", "<think>so", '<tool_call>{"name": "f"}', ""])
def test_the_end_of_a_text_ends_a_turn_that_is_wrong(text: str) -> None:
    """Not the token limit: nothing was cut off."""
    turn = reader.parse(f"{text}<|endoftext|>", OWN)
    assert turn.complete
    assert turn.error == "The turn has <|endoftext|>: end it with <|im_end|>."


@pytest.mark.parametrize(
    ("style", "text"),
    [
        (HERMES, '{"orders": 3}'),
        (HERMES, "Write <function=f> to call f."),
        (XML, JSON_CALL),
        (OWN, "<think>A <tool_call> comes next.</think>Done."),
    ],
)
def test_texts_that_only_look_like_a_call(style: Style, text: str) -> None:
    assert reader.parse(text + END, style, PARAMETERS).error == ""


def xml(body: str) -> AgentTurn:
    text = f"<tool_call>\n{body}\n</tool_call>{END}"
    return reader.parse(text, Style(CallFormat.QWEN3_XML), PARAMETERS)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("s", "12", "12"),
        ("s", "null", "null"),
        ("s", " a\nb ", " a\nb "),
        ("s", "", ""),
        ("i", "12", 12),
        ("i", "twelve", "twelve"),
        ("i", "9" * 50, "9" * 50),
        ("x", "1.5", 1.5),
        ("x", "1e999", "1e999"),
        ("b", "True", True),
        ("b", "false", False),
        ("l", '["a", 1]', ["a", 1]),
        ("l", "[", "["),
        ("l", "['a', True, None]", ["a", True, None]),
        ("l", "['it\\'s']", ["it's"]),
        ("l", "[1, __import__('os')]", "[1, __import__('os')]"),
        ("l", "{1, 2}", "{1, 2}"),
        ("n", "null", None),
        ("n", "None", None),
        ("n", "x", "x"),
        ("b", "FALSE", False),
        ("b", "1", True),
        ("i", "True", "True"),
        ("x", "5.0", 5),
        ("u", "12", 12),
        ("u", "x", "x"),
        ("e", "2", 2),
        ("d", '{"a": 1}', {"a": 1}),
        ("t", "12", "12"),
        ("a", "1.5", 1.5),
        ("r", "1", "1"),
        ("r", "null", None),
        ("g", "12", "12"),
        ("v", "12", 12),
        ("unknown", "1", "1"),
    ],
)
def test_xml_values_get_the_types_of_the_schema(key: str, text: str, value: object) -> None:
    turn = xml(f"<function=f>\n<parameter={key}>\n{text}\n</parameter>\n</function>")
    assert turn.error == ""
    assert turn.tool_calls == (ToolCall("f", {key: value}),)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("", "lacks <function=name>"),
        ("<function=>x</function>", "lacks <function=name>"),
        ("<function=f>", "isn't one <function=name>...</function>"),
        ("x<function=f></function>", "isn't one"),
        ("<function=f></function>x", "isn't one"),
        ("<function=f>x</function>", "lacks <parameter=name>"),
        ("<function=f>x<parameter=a>1</parameter></function>", "'x' where"),
        ("<function=f><parameter=a>1</function>", "'1' where"),
        ("<function=f><parameter=a>1<parameter=b>2</parameter></function>", "where"),
        ("<function=f><parameter=a>1</parameter><function=g></function>", "isn't one"),
        ("<function=f></function><function=g></function>", "isn't one"),
        ("<function=f><parameter=a>1</parameter><parameter=a>2</parameter></function>", "twice"),
        ("<function=f><parameter=a>\ud800</parameter></function>", "surrogate"),
    ],
)
def test_malformed_xml_says_why(body: str, sentence: str) -> None:
    turn = xml(body)
    assert sentence in turn.error
    assert turn.tool_calls == ()


@pytest.mark.parametrize(
    ("thinking", "text", "thought", "error"),
    [
        (Thinking.OWN, f"<think>a</think>b{END}", "a", ""),
        (Thinking.OWN, f"b{END}", "", ""),
        (Thinking.OWN, f"<think>a{END}", "a", "does not close it"),
        (Thinking.OWN, f"<think></think><think>a</think>b{END}", "", "in the middle"),
        (Thinking.OWN, f"b<think>a</think>{END}", "", "in the middle"),
        (Thinking.OWN, f"a</think>b{END}", "", "without having opened it"),
        (Thinking.OWN, f"<think>a</think>{END}", "a", "is empty"),
        (Thinking.OWN, "<think>a", "a", "token limit"),
        (Thinking.PROMPTED, f"a</think>b{END}", "a", ""),
        (Thinking.PROMPTED, f"<think>\na\n</think>b{END}", "a", ""),
        (Thinking.PROMPTED, f"a<tool_call>b</think>c{END}", "a<tool_call>b", ""),
        (Thinking.PROMPTED, f"b{END}", "b", "does not close it"),
    ],
)
def test_thinking_is_told_from_speech(
    thinking: Thinking, text: str, thought: str, error: str
) -> None:
    turn = reader.parse(text, Style(thinking=thinking))
    assert turn.thinking == thought
    assert error in turn.error
    assert bool(error) == bool(turn.error)


def test_a_million_characters_are_read_at_once_and_in_pieces() -> None:
    value = "x<" * 500_000
    text = f'<tool_call>{{"name":"f","arguments":{{"s":"{value}"}}}}</tool_call>{END}'
    turn = reader.parse(text)
    assert turn.tool_calls == (ToolCall("f", {"s": value}),)
    pieces = reader.TurnReader()
    for start in range(0, len(text), 100):
        pieces.feed(text[start : start + 100])
    assert pieces.close() == turn


PIECES = st.sampled_from(
    [
        *markup.TAGS,
        '{"name":',
        '"f"',
        ',"arguments":{',
        "}",
        "[",
        "1e999",
        "\\u",
        "é",
        " ",
        '{"name":"f","arguments":{}}',
        "<function=f>",
        "</function>",
        "<parameter=i>",
        "</parameter>",
        "<",
    ]
)
TEXTS = st.lists(st.one_of(PIECES, st.text(max_size=5)), max_size=20).map("".join)


@given(TEXTS, st.sampled_from([BRIEF, *STYLES]))
def test_nothing_raises(text: str, style: Style) -> None:
    turn = reader.parse(text, style, PARAMETERS)
    assert not (turn.error and turn.tool_calls)
    assert turn.error or turn.text or turn.tool_calls


@given(TEXTS, st.sampled_from(STYLES), st.data())
def test_pieces_give_the_same_turn_as_the_whole(
    text: str, style: Style, data: st.DataObject
) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=8).map(sorted))
    pieces = reader.TurnReader(style, PARAMETERS)
    for start, end in pairwise([0, *cuts, len(text)]):
        pieces.feed(text[start:end])
    turn, whole = pieces.close(), reader.parse(text, style, PARAMETERS)
    assert (turn, turn.thinking) == (whole, whole.thinking)


@given(TEXTS, st.sampled_from(STYLES))
def test_every_single_cut_gives_the_same_turn(text: str, style: Style) -> None:
    whole = reader.parse(text, style, PARAMETERS)
    for cut in range(len(text) + 1):
        pieces = reader.TurnReader(style, PARAMETERS)
        pieces.feed(text[:cut])
        pieces.feed(text[cut:])
        assert pieces.close() == whole


def test_calls_are_known_as_soon_as_they_end() -> None:
    pieces = reader.TurnReader()
    pieces.feed('<tool_call>{"name":"f"}</tool')
    assert pieces.calls == []
    pieces.feed("_call>")
    assert pieces.calls == [ToolCall("f", {})]
