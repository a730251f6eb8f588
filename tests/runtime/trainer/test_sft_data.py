"""From dialogue files to what every rank trains on, and counts of what was dropped."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sea_data.formats import sequences
from sea_data.formats.dialogue import Dialogue
from sea_data.formats.perspective import agent_side
from sea_data.tiny_model import tokenizer
from sea_env.tokens.renderer import Renderer
from sea_env.tokens.style import CallFormat, Style, Thinking
from sea_runtime.trainer import sft_data
from sea_runtime.trainer.errors import TrainingDataError
from sea_runtime.trainer.sft_data import planned


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(tokenizer.train(["user\n", "assistant\n"] * 3, 300))


def row(identity: str, answer: str, before: tuple[str, ...] = (), **metadata: Any) -> str:
    messages = [{"role": "user", "content": "U"}]
    for text in before:
        messages += [{"role": "assistant", "content": text}, {"role": "user", "content": "U"}]
    metadata = {"source_dialog_id": identity, "turn_index": len(before), **metadata}
    return json.dumps({"messages": messages, "answer": {"content": answer}, "metadata": metadata})


def encode(
    tmp_path: Path, renderer: Renderer, *rows: str, context: int = 1000, skip_bad: bool = False
) -> tuple[sft_data.Dialogues, dict[str, float]]:
    file = tmp_path / "sft.jsonl"
    file.write_text("\n".join(rows) + "\n")
    counts = sequences.TokenCounts()
    with planned(None, [str(file)], tmp_path / "rows", skip_bad=skip_bad) as plan:
        data = sft_data.encode(map(agent_side, plan.dialogues()), renderer, context, counts)
        return sft_data.unpack(data), plan.counts.as_metrics() | counts.as_metrics()


def trained(found: sft_data.Dialogues, renderer: Renderer) -> list[str]:
    return [
        renderer.decode([t for t, on in zip(tokens, mask, strict=True) if on])
        for tokens, mask in zip(found.tokens, found.masks, strict=True)
    ]


def test_answers_are_trained_once_and_all_rows_are_counted(
    tmp_path: Path, renderer: Renderer
) -> None:
    found, counts = encode(
        tmp_path,
        renderer,
        row("a", "one"),
        row("a", "two", ("one",)),
        row("b", "alone", ("context only",)),
        row("c", "lost", reward=0),
        "{",
        skip_bad=True,
    )
    assert trained(found, renderer) == ["one<|im_end|>two<|im_end|>", "alone<|im_end|>"]
    assert counts["data_rows"] == 5
    assert (counts["data_rows_failed"], counts["data_rows_bad"]) == (1, 1)
    assert (counts["data_rows_within_longer"], counts["data_dialogues"]) == (1, 2)
    assert counts["data_answer_tokens"] == sum(int(mask.sum()) for mask in found.masks)
    total = counts["data_answer_tokens"] + counts["data_context_tokens"]
    assert total == sum(len(tokens) for tokens in found.tokens)


def test_an_answer_that_does_not_fit_is_dropped_whole(tmp_path: Path, renderer: Renderer) -> None:
    rows = [row("a", "one"), row("a", "x" * 50, ("one",)), row("b", "y" * 500)]
    found, counts = encode(tmp_path, renderer, *rows, context=60)
    assert trained(found, renderer) == ["one<|im_end|>"]
    assert counts["data_over_length_answer_tokens"] == 51 + 501
    assert counts["data_dialogues_without_answer"] == 1
    whole, _ = encode(tmp_path, renderer, *rows[:2])
    exact = len(whole.tokens[0])
    for context, answers in ((exact, 2), (exact - 1, 1)):
        found, _ = encode(tmp_path, renderer, *rows[:2], context=context)
        assert trained(found, renderer)[0].count("<|im_end|>") == answers


def test_errors_name_their_place(tmp_path: Path, renderer: Renderer) -> None:
    with pytest.raises(TrainingDataError, match=r"sft.jsonl:2: row: isn't valid JSON"):
        encode(tmp_path, renderer, row("a", "one"), "{")
    with pytest.raises(TrainingDataError, match=r"No dialogue .* within model.contextLength"):
        encode(tmp_path, renderer, row("a", "one"), context=3)
    missing = str(tmp_path / "nowhere.jsonl")
    with (
        pytest.raises(TrainingDataError, match="No such file"),
        planned(None, [missing], tmp_path, skip_bad=True),
    ):
        pass


def test_if_the_model_can_hold_no_dialogue_the_error_says_why(renderer: Renderer) -> None:
    """It named the context length, which nobody could cure it with."""
    xml = Renderer(renderer._tokenizer, Style(CallFormat.QWEN3_XML))
    calling = {"role": "assistant", "content": "", "tool_calls": [{"name": "a>", "arguments": {}}]}
    given = Dialogue("d", ({"role": "user", "content": "U"}, calling), {}, file="sft.jsonl")
    with pytest.raises(
        TrainingDataError, match=r"1 can't be used .* sft\.jsonl: dialogue d, answer\.tool_calls"
    ):
        sft_data.encode([given], xml, 1000, sequences.TokenCounts(), skip_bad=True)


def test_branches_of_a_dialogue_have_one_origin(tmp_path: Path, renderer: Renderer) -> None:
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    first.write_text("\n".join([row("a", "x"), row("b", "y"), row("a", "z")]) + "\n")
    second.write_text(row("a", "w") + "\n")
    counts = sequences.TokenCounts()
    paths = [str(first), str(second)]
    with planned(None, paths, tmp_path / "rows", skip_bad=False) as plan:
        data = sft_data.encode(map(agent_side, plan.dialogues()), renderer, 1000, counts)
    # Ids are a file's own: `sft.select` looks for branches in one file, too.
    assert sft_data.unpack(data).origins == (0, 1, 0, 2)


def test_stripped_thoughts_make_each_exchange_a_sample(renderer: Renderer) -> None:
    """Each is what the agent was asked when it wrote the answers: without the thoughts before."""
    style = Style(thinking=Thinking.OWN, strips_thoughts=True)
    stripping = Renderer(renderer._tokenizer, style)
    messages = [
        {"role": "user", "content": "U1"},
        {"role": "assistant", "content": "A1", "thinking": "T1"},
        {"role": "user", "content": "U2"},
        {"role": "assistant", "content": "A2", "thinking": "T2"},
    ]
    counts = sequences.TokenCounts()
    whole = Dialogue("d", tuple(messages), {})
    data = sft_data.encode([whole], stripping, 1000, counts)
    found = sft_data.unpack(data)
    assert trained(found, stripping) == [
        f"<think>\nT{n}\n</think>\n\nA{n}<|im_end|>" for n in (1, 2)
    ]
    assert found.origins == (0, 0), "both come from one dialogue"
    first, second = (stripping.decode(list(tokens)) for tokens in found.tokens)
    assert "T1" not in second
    assert second.startswith(first.replace("<think>\nT1\n</think>\n\n", ""))
    assert (counts.dialogues, counts.without_answer) == (1, 0)
    data = sft_data.encode([replace(whole, trained=frozenset({3}))], stripping, 1000, counts)
    assert len(sft_data.unpack(data)) == 1, "an answer that another row trains makes no sample"


def test_a_greeting_is_trained_as_the_agent_is_asked_for_it(renderer: Renderer) -> None:
    """Before any text of the user: a prompt with the text would show it without its thought."""
    style = Style(thinking=Thinking.OWN, strips_thoughts=True)
    stripping = Renderer(renderer._tokenizer, style)
    messages = [
        {"role": "system", "content": "S"},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": "U1"},
        {"role": "assistant", "content": "A1", "thinking": "T1"},
    ]
    counts = sequences.TokenCounts()
    data = sft_data.encode([Dialogue("d", tuple(messages), {})], stripping, 1000, counts)
    found = sft_data.unpack(data)
    assert trained(found, stripping) == [
        f"<think>\n{thought}\n</think>\n\n{text}<|im_end|>"
        for thought, text in (("", "Hi"), ("T1", "A1"))
    ]
