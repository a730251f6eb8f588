"""What serves an exported model asks it for what the job asked, token by token."""

import json
import runpy
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from sea_data.evaluation.playing import chat_messages
from sea_env.episodes.conversation import AgentNext, Conversation, Next, Over
from sea_env.episodes.episode import Done, Episode, NeedGeneration
from sea_env.episodes.limits import Limits, Stop
from sea_env.tokens import chat_template, exported_template
from sea_env.tokens.exported_template import UnknownTemplateRuleError
from sea_env.tokens.messages import AgentTurn
from sea_env.tokens.renderer import Renderer
from sea_env.tokens.style import Thinking

MakeFolder = Callable[..., Path]
LIMITS = Limits(max_turns=99, max_tokens_per_turn=10_000, context_length=100_000)


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


@pytest.mark.parametrize("strips", [False, True], ids=["Keep", "Strip"])
@pytest.mark.parametrize("family", ["hybrid", "thinking", "qwen38"])
def test_evaluate_on_the_export_sends_the_tokens_of_the_jobs_own_evaluation(
    model_folder: MakeFolder, dialogues: list[list[dict[str, Any]]], family: str, strips: bool
) -> None:
    folder = model_folder(family)
    renderer = Renderer.load(folder, strips_thoughts=strips)
    assert exported_template.change_in_folder(folder, strips_thoughts=strips)
    template = chat_template.load(folder)
    assert template is not None
    for dialogue in dialogues:
        for index, ids in asked(renderer, dialogue):
            sent = served(chat_messages.native(dialogue[:index]))
            system = {"role": "system", "content": "Be kind."}
            wanted = template.render([system, *sent], prompt=True)
            assert renderer.decode(ids) == wanted


def test_stripped_thoughts_are_gone_once_the_user_speaks_again(
    model_folder: MakeFolder,
) -> None:
    dialogue: list[dict[str, Any]] = [
        {"role": "user", "content": "u1"},
        {"role": "assistant", "content": "a1", "thinking": "first"},
        {"role": "user", "content": "u2"},
        {
            "role": "assistant",
            "content": "",
            "thinking": "second",
            "tool_calls": [{"name": "f", "arguments": {}}],
        },
        {"role": "tool", "content": "r"},
        {"role": "assistant", "content": "a2", "thinking": "third"},
    ]
    renderer = Renderer.load(model_folder("hybrid"), strips_thoughts=True)
    prompts = {index: renderer.decode(ids) for index, ids in asked(renderer, dialogue)}
    assert [one.count("first") for one in prompts.values()] == [0, 0, 0]
    assert [one.count("second") for one in prompts.values()] == [0, 0, 1]
    assert prompts[5].startswith(prompts[3]), "within an exchange prompts grow by exact prefixes"


def asked(renderer: Renderer, dialogue: list[dict[str, Any]]) -> Iterator[tuple[int, list[int]]]:
    """(index of an answer, the prompt that an episode asks for it), by a scripted engine."""
    conversation = Scripted(dialogue)
    episode = Episode(cast(Conversation, conversation), renderer, "Be kind.", LIMITS)
    effect = episode.start()
    while not isinstance(effect, Done):
        assert isinstance(effect, NeedGeneration)
        yield len(conversation.messages), list(effect.prompt)
        ids = renderer.agent_turn(dialogue[len(conversation.messages)])
        effect = episode.on_agent(ids, [-0.5] * len(ids), [0] * len(ids))


class Scripted:
    """A conversation that goes as written, whatever the agent writes."""

    turns = 0
    parameters: Mapping[str, Any] = {}

    def __init__(self, dialogue: list[dict[str, Any]]) -> None:
        self.script, self.messages = dialogue, dialogue[:1]

    def start(self) -> Next:
        return AgentNext(user_text=self.script[0]["content"])

    def agent(self, _: AgentTurn) -> Next:
        before = len(self.messages) + 1
        end = before
        while end < len(self.script) and self.script[end]["role"] != "assistant":
            end += 1
        self.messages = self.script[:end]
        fresh = self.script[before:end]
        if end == len(self.script):
            return Over(Stop.USER_STOP)
        if fresh[0]["role"] == "tool":
            return AgentNext(results=[one["content"] for one in fresh])
        return AgentNext(user_text=fresh[0]["content"])


@pytest.mark.parametrize("family", ["instruct", "coder"])
def test_a_template_without_thoughts_is_exported_byte_by_byte(
    model_folder: MakeFolder, family: str
) -> None:
    folder = model_folder(family)
    before = (folder / "tokenizer_config.json").read_bytes()
    assert not exported_template.change_in_folder(folder, strips_thoughts=False)
    assert (folder / "tokenizer_config.json").read_bytes() == before


def test_a_template_in_a_file_of_its_own_is_changed_there(model_folder: MakeFolder) -> None:
    folder = model_folder("hybrid")
    source = chat_template.read_json(folder / "tokenizer_config.json")["chat_template"]
    (folder / "chat_template.jinja").write_text(source)
    assert exported_template.change_in_folder(folder, strips_thoughts=False)
    assert "loop.index0 > ns.last" not in (folder / "chat_template.jinja").read_text()


def test_an_unknown_rule_is_a_sentence_and_changes_nothing(model_folder: MakeFolder) -> None:
    folder = model_folder("hybrid")
    config = chat_template.read_json(folder / "tokenizer_config.json")
    other = config["chat_template"].replace("loop.index0 > ns.last", "loop.revindex0 < 1")
    (folder / "chat_template.jinja").write_text(other)
    with pytest.raises(UnknownTemplateRuleError, match="a rule that isn't known"):
        exported_template.change_in_folder(folder, strips_thoughts=False)
    assert (folder / "chat_template.jinja").read_text() == other


def test_a_template_that_nobody_renders_here_ends_no_export(model_folder: MakeFolder) -> None:
    """Of several, the one for tools was read when the job began; the others come to light last."""
    folder = model_folder("hybrid")
    file = folder / "tokenizer_config.json"
    used = {"name": "tool_use", "template": chat_template.read_json(file)["chat_template"]}
    file.write_text(json.dumps({"chat_template": [used, {"name": "rag"}]}))
    assert exported_template.change_in_folder(folder, strips_thoughts=False)
    refuses = {"name": "default", "template": "{{ raise_exception('no tools') }}"}
    file.write_text(json.dumps({"chat_template": [used, refuses]}))
    before = file.read_bytes()
    with pytest.raises(UnknownTemplateRuleError, match="no tools"):
        exported_template.change_in_folder(folder, strips_thoughts=False)
    assert file.read_bytes() == before


def test_the_example_of_a_model_that_thinks_strips_as_its_template_does(root: Path) -> None:
    """examples/thinking.yaml: the exported template is the model's own, byte for byte."""
    names = runpy.run_path(str(root / "examples" / "thinking_model.py"))
    source = names["template"]()
    assert chat_template.ChatTemplate(source).style().thinking is Thinking.OWN
    assert exported_template.changed(source, strips_thoughts=True) == source
    assert exported_template.changed(source, strips_thoughts=False) != source
