"""Turns with calls, right and wrong: what vLLM's tool parsers make of them, next to our reader."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sea_env.tokens import reader
from sea_env.tokens.messages import AgentTurn
from sea_env.tokens.style import CallFormat, Style
from sea_testing import mutated_turns
from sea_testing.waiting import HANG_S

pytestmark = pytest.mark.component
TURNS = 1500
"""Per format, most of them with one or two mutations."""
FORMATS = {"hermes": Style(CallFormat.HERMES), "qwen3_coder": Style(CallFormat.QWEN3_XML)}
"""By the name of vLLM's parser."""
PARAMETERS = dict.fromkeys(("f", "g"), mutated_turns.SCHEMA) | {"typed": mutated_turns.TYPED}
TYPED = mutated_turns.typed_turns()
DIFFERENCES = {
    "same": "the same calls and text",
    "refused, vLLM repairs": "calls whose markup is broken, which vLLM guesses",
    "refused, vLLM says it": "broken calls that vLLM would show to the customer as text",
    "text after a call": "kept next to the calls, where nobody hears it; vLLM drops it",
}
"""What may differ. Never: other calls, calls where vLLM speaks, text where vLLM calls."""


def kind_of(turn: AgentTurn, calls: Any, said: str) -> str:
    """Of the difference between our turn and vLLM's calls and text."""
    if turn.error:
        return "refused, vLLM repairs" if calls else "refused, vLLM says it"
    if [[call.name, dict(call.arguments)] for call in turn.tool_calls] != calls:
        return "other calls"
    if turn.text == said.strip():
        return "same"
    return "text after a call" if calls and turn.text.startswith(said.strip()) else "other text"


@pytest.fixture(scope="module")
def turns() -> dict[str, list[str]]:
    return {
        name: list(mutated_turns.turns(TURNS, xml=style.calls is CallFormat.QWEN3_XML))
        for name, style in FORMATS.items()
    }


@pytest.fixture(scope="module")
def parses(turns: dict[str, list[str]]) -> dict[str, list[Any]]:
    """By one program for both parsers: vLLM's import takes ten seconds of CPU."""
    given = {**turns, "qwen3_coder": [*turns["qwen3_coder"], *(t for t, _, _ in TYPED)]}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(Path(__file__).parent / "vllm_parsers_probe.py")],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        input=json.dumps({"turns": given, "tools": mutated_turns.TOOLS}),
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, list[Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("name", FORMATS)
def test_every_difference_to_vllms_parser_is_a_known_one(
    name: str, turns: dict[str, list[str]], parses: dict[str, list[Any]]
) -> None:
    """Ours is stricter: what it refuses vLLM repairs or says to the customer; nothing else."""
    kinds: Counter[str] = Counter()
    for text, (calls, said) in zip(turns[name], parses[name], strict=False):
        turn = reader.parse(f"{text}<|im_end|>", FORMATS[name], PARAMETERS)
        kind = kind_of(turn, calls, said)
        assert kind in DIFFERENCES, f"{kind}: {text!r}: {turn} | {calls} {said!r}"
        kinds[kind] += 1
    assert kinds["same"] > TURNS / 5
    assert kinds.keys() == DIFFERENCES.keys(), "a kind that no longer occurs"


def test_arguments_have_the_types_that_vllms_parser_gives_them(
    parses: dict[str, list[Any]],
) -> None:
    """For schemas that name a type in any of their ways. Otherwise a policy would be trained on
    arguments that whoever serves it doesn't get."""
    found = parses["qwen3_coder"][-len(TYPED) :]
    for (text, value, schema), (calls, _) in zip(TYPED, found, strict=True):
        turn = reader.parse(f"{text}<|im_end|>", FORMATS["qwen3_coder"], PARAMETERS)
        ((_, theirs),) = calls
        (ours,) = turn.tool_calls
        same = list(ours.arguments.values()) == list(theirs.values())
        # What no 64 bits hold stays a text: it could not be carried on.
        carried = value == mutated_turns.HUGE and list(ours.arguments.values()) == [value]
        assert same or carried, f"{schema} {value!r}: {dict(ours.arguments)} | {theirs}"
