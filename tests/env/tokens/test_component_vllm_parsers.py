"""Mutated turns read by our reader and by vLLM's parsers: every difference is of a known kind.

A model trained here is served by vLLM. Where vLLM finds a call, ours finds the same one or says
what is wrong; where ours finds a call, vLLM finds it too, or one of the reasons below says why not.
"""

import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from sea_data.tiny_model import tokenizer as tiny
from sea_env.tokens import markup, reader
from sea_env.tokens.messages import AgentTurn
from sea_env.tokens.style import CallFormat, Style, Thinking, XmlValues

pytestmark = pytest.mark.component
TURNS = 800
PARAMETERS: dict[str, Any] = {
    "f": {
        "type": "object",
        "properties": {
            "s": {"type": "string"},
            "i": {"type": "integer"},
            "b": {"type": "boolean"},
            "x": {"type": "number"},
            "l": {"type": "array"},
            "o": {"type": "object"},
        },
    },
    "g": {"type": "object", "properties": {}},
}
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": schema}}
    for name, schema in PARAMETERS.items()
]
VALUES: dict[str, list[Any]] = {
    "s": ["#W1", "", "null", "12", "é\n“x”", "a\n", "<b>", "True"],
    "i": [0, -3, 10**12],
    "b": [True, False],
    "x": [1.5, -2.0, 1e-7],
    "l": [["a", 1], [], [True, None]],
    "o": [{"k": {"n": [1]}}, {}],
}
PIECES = [
    "<tool_call>",
    "</tool_call>",
    "<function=f>",
    "</function>",
    "<parameter=s>",
    "</parameter>",
    "<think>",
    "</think>",
    "\n",
    " ",
    '"',
    "{",
    "}",
    "x",
    ">",
]


@dataclass(frozen=True)
class Read:
    """What a parser made of a turn."""

    text: str
    calls: list[tuple[str, Any]]


def turn(rng: random.Random, style: Style) -> str:
    """A canonical turn without its end tag."""
    calls = []
    for _ in range(rng.randint(0, 3)):
        name = rng.choice(["f", "f", "g"])
        keys = rng.sample(sorted(VALUES), rng.randint(0, 4)) if name == "f" else []
        calls.append({"name": name, "arguments": {key: rng.choice(VALUES[key]) for key in keys}})
    message = {
        "role": "assistant",
        "content": rng.choice(["", "I look.", "One\n\ntwo."]) if calls else "Done.",
        "thinking": rng.choice(["", "Hm.", "First f, then g."]),
        "tool_calls": calls,
    }
    segments = markup.written_by_assistant(message, style)
    return "".join(one.text for one in segments).removesuffix(markup.IM_END)


def mutated(rng: random.Random, text: str) -> str:
    """Up to three small faults: a piece that is missing, doubled, added, moved or cut off."""
    for _ in range(rng.randint(0, 3)):
        found = [piece for piece in PIECES if piece in text]
        place = rng.randint(0, len(text))
        match rng.randint(0, 4):
            case 0 if found:
                text = text.replace(rng.choice(found), "", 1)
            case 1 if found:
                piece = rng.choice(found)
                text = text.replace(piece, piece * 2, 1)
            case 2:
                text = text[:place] + rng.choice(PIECES) + text[place:]
            case 3:
                end = min(len(text), place + rng.randint(1, 12))
                text = text[:place] + text[end:]
            case _:
                text = text[:place] if rng.random() < 0.2 else text
    return text


def ours(text: str, style: Style) -> AgentTurn:
    return reader.parse(text + markup.IM_END, style, PARAMETERS)


@pytest.fixture(scope="module")
def theirs() -> Callable[[str, Style], Read]:
    """vLLM's parsers, as `--tool-call-parser` and `--reasoning-parser` combine them."""
    from tokenizers import AddedToken
    from transformers import PreTrainedTokenizerFast
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
    from vllm.parser.qwen3 import Qwen3Parser
    from vllm.tool_parsers.hermes_tool_parser import Hermes2ProToolParser

    made = tiny.train(["user\nassistant\n"] * 3, 400)
    made.add_tokens([AddedToken(markup.THINK), AddedToken(markup.THINK_END)])
    tokenizer: Any = PreTrainedTokenizerFast(tokenizer_object=made)
    request = ChatCompletionRequest(
        model="m", messages=[{"role": "user", "content": "Hi"}], tools=TOOLS
    )

    def calls(found: Any) -> list[tuple[str, Any]]:
        functions = [getattr(one, "function", one) for one in found or []]
        return [(one.name, json.loads(one.arguments)) for one in functions]

    def read(text: str, style: Style) -> Read:
        if style.calls is CallFormat.QWEN3_XML:
            thinks = style.thinking is Thinking.PROMPTED
            parser = Qwen3Parser(
                tokenizer, request.tools, chat_template_kwargs={"enable_thinking": thinks}
            )
            _, said, found = parser.parse(text, request)
            return Read(said or "", calls(found))
        # vLLM's reasoning parser takes everything up to the first end of a thought.
        _, closed, after = text.partition(markup.THINK_END)
        rest = after if style.thinking is Thinking.OWN and closed else text
        parsed = Hermes2ProToolParser(tokenizer, request.tools).extract_tool_calls(rest, request)
        return Read(parsed.content or "", calls(parsed.tool_calls))

    return read


def kind_of(text: str, style: Style, mine: AgentTurn, other: Read) -> str:
    """Why the two differ; "?" for a difference that nobody has thought about."""
    if mine.error:
        return "a sentence to the model"
    calls = [(call.name, dict(call.arguments)) for call in mine.tool_calls]
    if calls == other.calls:
        return "the same calls"
    if style.calls is not CallFormat.QWEN3_XML:
        # vLLM refuses a turn in which one call lacks its arguments; ours takes none for none.
        if not other.calls and len(calls) > text.count('"arguments"'):
            return "a call without arguments"
        return "?"
    if [name for name, _ in calls] == [name for name, _ in other.calls]:
        pairs = zip(calls, other.calls, strict=True)
        if all(_same_but_literals(a, b) for (_, a), (_, b) in pairs):
            return "a list as Qwen3-Coder's template writes it, which vLLM leaves a text"
    return "?"


def _same_but_literals(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(
        a[key] == b[key] or (isinstance(a[key], list | dict) and isinstance(b[key], str))
        for key in a
    )


STYLES = {
    "Hermes": Style(),
    "Hermes, own thoughts": Style(thinking=Thinking.OWN),
    "Coder": Style(CallFormat.QWEN3_XML, before_call="\n\n", values=XmlValues.OBJECTS),
    "Qwen3.6": Style(
        CallFormat.QWEN3_XML, Thinking.PROMPTED, before_call="\n\n", values=XmlValues.JSON
    ),
}


@pytest.mark.parametrize("name", STYLES)
def test_every_difference_from_vllms_parser_is_of_a_known_kind(
    theirs: Callable[[str, Style], Read], name: str
) -> None:
    style, rng = STYLES[name], random.Random(name)
    kinds: Counter[str] = Counter()
    unknown: list[Any] = []
    for _ in range(TURNS):
        text = mutated(rng, turn(rng, style))
        mine, other = ours(text, style), theirs(text, style)
        kind = kind_of(text, style, mine, other)
        kinds[kind] += 1
        if kind == "?":
            unknown.append((text, mine, other))
    assert unknown[:3] == [], f"{len(unknown)} of {TURNS}, {kinds}"
    assert kinds["the same calls"] > TURNS // 5
    assert kinds["a sentence to the model"] > TURNS // 5


@pytest.mark.parametrize("name", STYLES)
def test_a_turn_as_we_write_it_is_read_by_vllm(
    theirs: Callable[[str, Style], Read], name: str
) -> None:
    style, rng = STYLES[name], random.Random(name)
    for _ in range(TURNS // 10):
        text = turn(rng, style)
        mine, other = ours(text, style), theirs(text, style)
        assert mine.error == "", text
        assert kind_of(text, style, mine, other) != "?", (text, mine, other)
        # vLLM's Hermes parser leaves white space around a text; nobody says it aloud.
        assert mine.text == other.text.strip(), text
