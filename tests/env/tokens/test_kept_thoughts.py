"""What serves an exported model asks it for what the job asked, token by token."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sea_data.evaluation.playing import chat_messages
from sea_env.tokens import chat_template, kept_thoughts
from sea_env.tokens.kept_thoughts import UnkeptThoughtsError
from sea_env.tokens.renderer import Renderer

MakeFolder = Callable[..., Path]


def served(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As vLLM hands messages to a template: arguments parsed, absent contents empty."""
    found = []
    for message in messages:
        calls = [
            {**call["function"], "arguments": json.loads(call["function"]["arguments"])}
            for call in message.get("tool_calls") or ()
        ]
        more = {"tool_calls": calls} if calls else {}
        found.append({**message, "content": message["content"] or "", **more})
    return found


@pytest.mark.parametrize("family", ["hybrid", "thinking"])
def test_evaluate_on_the_export_sends_the_tokens_of_the_jobs_own_evaluation(
    model_folder: MakeFolder, dialogues: list[list[dict[str, Any]]], family: str
) -> None:
    folder = model_folder(family)
    renderer = Renderer.load(folder)
    assert kept_thoughts.keep_in_folder(folder)
    template = chat_template.load(folder)
    assert template is not None
    for dialogue in dialogues:
        ids = renderer.opening("Be kind.", dialogue[:1])
        for index, message in enumerate(dialogue):
            if message["role"] == "assistant":
                sent = served(chat_messages.native(dialogue[:index]))
                system = {"role": "system", "content": "Be kind."}
                wanted = template.render([system, *sent], prompt=True)
                assert renderer.decode(ids) == wanted
                ids = ids + renderer.agent_turn(message) + following(renderer, dialogue, index)


def following(renderer: Renderer, dialogue: list[dict[str, Any]], index: int) -> list[int]:
    """What an episode appends after the answer at `index`."""
    results = []
    for message in dialogue[index + 1 :]:
        if message["role"] != "tool":
            break
        results.append(message["content"])
    if results:
        return renderer.tool_results(results)
    after = dialogue[index + 1 :]
    return renderer.user_message(after[0]["content"]) if after else []


@pytest.mark.parametrize("family", ["instruct", "coder"])
def test_a_template_without_thoughts_is_exported_byte_by_byte(
    model_folder: MakeFolder, family: str
) -> None:
    folder = model_folder(family)
    before = (folder / "tokenizer_config.json").read_bytes()
    assert not kept_thoughts.keep_in_folder(folder)
    assert (folder / "tokenizer_config.json").read_bytes() == before


def test_a_template_in_a_file_of_its_own_is_changed_there(model_folder: MakeFolder) -> None:
    folder = model_folder("hybrid")
    source = chat_template.read_json(folder / "tokenizer_config.json")["chat_template"]
    (folder / "chat_template.jinja").write_text(source)
    assert kept_thoughts.keep_in_folder(folder)
    assert "loop.index0 > ns.last" not in (folder / "chat_template.jinja").read_text()


def test_an_unknown_rule_is_a_sentence_and_changes_nothing(model_folder: MakeFolder) -> None:
    folder = model_folder("hybrid")
    config = chat_template.read_json(folder / "tokenizer_config.json")
    other = config["chat_template"].replace("loop.index0 > ns.last", "loop.revindex0 < 1")
    (folder / "chat_template.jinja").write_text(other)
    with pytest.raises(UnkeptThoughtsError, match="a rule that isn't known"):
        kept_thoughts.keep_in_folder(folder)
    assert (folder / "chat_template.jinja").read_text() == other
