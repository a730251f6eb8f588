"""A chat template that writes another form of turns is refused when its folder is loaded.

The forms are those of published families (TRL's and vLLM's collections, November 2026), written
anew. With the check left out, each of them loads as Qwen's.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sea_env.tokens.model_folder import UnsuitableTokenizerError
from sea_env.tokens.renderer import Renderer
from sea_env.tokens.style import CallFormat

MakeFolder = Callable[..., Path]


def turns(written: str) -> str:
    """A template that writes each message `m` so."""
    return "{% for m in messages %}" + written + "{% endfor %}"


DEEPSEEK = turns(
    "{% if m.role == 'system' %}{{ m.content }}"
    "{% elif m.role == 'user' %}{{ '<\uff5cUser\uff5c>' + m.content }}"
    "{% elif m.role == 'assistant' %}{{ '<\uff5cAssistant\uff5c>' + (m.content or '') }}{% endif %}"
)
LLAMA = turns(
    "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + (m.content or '') }}<|eot_id|>"
)
HARMONY = turns("{{ '<|start|>' + m.role + '<|message|>' + (m.content or '') }}<|end|>")
GLM = "[gMASK]<sop>" + turns("{{ '<|' + m.role + '|>\\n' + (m.content or '') }}")
PHI = turns("{{ '<|' + m.role + '|>\\n' + (m.content or '') }}<|end|>\n")
MISTRAL = turns(
    "{% if m.role == 'user' %}{{ '[INST] ' + m.content + '[/INST]' }}"
    "{% else %}{{ ' ' + (m.content or '') }}</s>{% endif %}"
)
KIMI = turns(
    "{{ '<|im_' + m.role + '|>' + m.role + '<|im_middle|>' + (m.content or '') }}<|im_end|>"
)
NO_SYSTEM = turns(
    "{% if m.role != 'system' %}{{ '<|im_start|>' + m.role + '\\n' + (m.content or '') }}"
    "<|im_end|>\n{% endif %}"
)
CHATML = turns("{{ '<|im_start|>' + m.role + '\\n' + (m.content or '') }}CALLSEND\n")


@pytest.mark.parametrize(
    "source", [DEEPSEEK, LLAMA, HARMONY, GLM, PHI, MISTRAL, KIMI, NO_SYSTEM],
    ids=["deepseek", "llama", "harmony", "glm", "phi", "mistral", "kimi", "no-system"],
)  # fmt: skip
def test_another_frame_is_refused(model_folder: MakeFolder, source: str) -> None:
    with pytest.raises(UnsuitableTokenizerError, match=r"writes '.*' where '.*' is expected.*Qwen"):
        Renderer.load(model_folder("instruct", source))


def test_one_line_break_after_a_thought_is_refused(
    model_folder: MakeFolder, templates: dict[str, str]
) -> None:
    """Nemotron 3's: Qwen's frame, tags and XML calls, and a thought that ends otherwise."""
    source = templates["qwen36"].replace("</think>\\n\\n", "</think>\\n")
    assert source != templates["qwen36"]
    with pytest.raises(UnsuitableTokenizerError, match="</think>"):
        Renderer.load(model_folder("qwen36", source))


@pytest.mark.parametrize(
    "calls",
    [
        "<|tool_call_start|>[{{ f.name }}()]<|tool_call_end|>",  # LFM2.5
        "<tool_call>{{ f.name }}\n<arg_key>s</arg_key></tool_call>",  # GLM-4.5
        "\n<tool_call>\n{'arguments': {}, 'name': '{{ f.name }}'}\n</tool_call>",  # Hermes 2
    ],
)
def test_calls_in_another_form_are_refused(model_folder: MakeFolder, calls: str) -> None:
    written = "{% for c in m.tool_calls or [] %}{% set f = c.function %}" + calls + "{% endfor %}"
    source = CHATML.replace("CALLS", written).replace("END", "<|im_end|>")
    with pytest.raises(UnsuitableTokenizerError, match="is expected"):
        Renderer.load(model_folder("instruct", source))
    # The job's own `model.toolFormat` says what is written instead.
    forced = Renderer.load(model_folder("instruct", source), CallFormat.HERMES)
    assert forced.style.calls is CallFormat.HERMES


@pytest.mark.parametrize("token", ["<|im_end|>", {"content": "<|im_end|>", "special": True}])
def test_a_template_may_name_the_tokenizers_own_tokens(
    model_folder: MakeFolder, token: object
) -> None:
    source = CHATML.replace("CALLS", "").replace("END", "{{ eos_token }}")
    folder = model_folder("instruct", source)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "eos_token": token}))
    renderer = Renderer.load(folder)
    text = renderer.decode(renderer.opening("Be kind.", [{"role": "user", "content": "Hi"}]))
    assert text.endswith("Hi<|im_end|>\n<|im_start|>assistant\n")


def test_a_template_whose_turns_have_no_end_is_refused(model_folder: MakeFolder) -> None:
    """It names a token that the folder doesn't say."""
    source = CHATML.replace("CALLS", "").replace("END", "{{ eos_token }}")
    with pytest.raises(UnsuitableTokenizerError, match="is expected"):
        Renderer.load(model_folder("instruct", source))


def test_of_several_templates_the_one_for_tools_is_read(
    model_folder: MakeFolder, templates: dict[str, str]
) -> None:
    """Hermes 3 has two; transformers and vLLM render the second for requests with tools."""
    both = [
        {"name": "default", "template": templates["instruct"]},
        {"name": "tool_use", "template": templates["coder"]},
    ]
    folder = model_folder("instruct")
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": both}))
    assert Renderer.load(folder).style.calls is CallFormat.QWEN3_XML
    both[1]["name"] = "rag"
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": both}))
    assert Renderer.load(folder).style.calls is CallFormat.HERMES
