"""A real byte-level tokenizer with Qwen3's tokens, and templates with the families' rules."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.trainers import BpeTrainer

SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>")
PLAIN = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>",
         "</think>")  # fmt: skip

SYSTEM = """\
{%- if tools -%}
<|im_start|>system
{% if messages[0].role == 'system' %}{{ messages[0].content + '\\n\\n' }}{% endif -%}
# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{%- for tool in tools %}{{ '\\n' + (tool | tojson) }}{% endfor %}
</tools>

For each function call, return a json object with function name and arguments within \
<tool_call></tool_call> XML tags:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call><|im_end|>
{% elif messages[0].role == 'system' -%}
{{ '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif -%}
"""

PLAIN_SYSTEM = """\
{%- if messages[0].role == 'system' -%}
{{ '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif -%}
"""

XML_SYSTEM = """\
{%- if messages[0].role == 'system' -%}
{{ '<|im_start|>system\\n' + messages[0].content }}
{%- if tools %}{{ '\\n\\nFunctions:' }}{% for tool in tools %}
{{- '\\n<function><name>' + tool.function.name + '</name></function>' }}{% endfor %}
{{- '\\nCall: <tool_call>\\n<function=example>\\n</function>\\n</tool_call>' }}{% endif %}
{{- '<|im_end|>\\n' }}
{%- endif -%}
"""

JSON_CALL = """\
{{- '<tool_call>\\n{"name": "' + f.name + '", "arguments": ' + (f.arguments | tojson)
 + '}\\n</tool_call>' }}"""

XML_CALL = """\
{{- '<tool_call>\\n<function=' + f.name + '>\\n' }}
{%- for key, value in f.arguments.items() %}
{{- '<parameter=' + key + '>\\n'
 + (value if value is string else (value | tojson)) + '\\n</parameter>\\n' }}
{%- endfor %}{{- '</function>\\n</tool_call>' }}"""

TURNS = """\
{%- set ns = namespace(last=-1) -%}
{%- for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}
{%- endfor %}
{%- for m in messages %}
{%- if m.role == 'user' %}{{ '<|im_start|>user\\n' + m.content + '<|im_end|>\\n' }}
{%- elif m.role == 'tool' %}
{%- if loop.index0 == 0 or messages[loop.index0 - 1].role != 'tool' %}
{{- '<|im_start|>user' }}{% endif %}
{{- '\\n<tool_response>\\n' + m.content + '\\n</tool_response>' }}
{%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{ '<|im_end|>\\n' }}{% endif %}
{%- elif m.role == 'assistant' %}
{{- '<|im_start|>assistant\\n' }}
{%- set thought = m.reasoning_content or '' %}
{%- if THINKS and loop.index0 > ns.last and (loop.last or thought) %}
{{- '<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' }}{% endif %}
{{- m.content or '' }}
{%- for call in m.tool_calls or [] %}{% set f = call.function or call %}
{%- if not loop.first or m.content %}{{ '\\n' }}{% endif %}
CALL
{%- endfor %}{{- '<|im_end|>\\n' }}
{%- endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\nHEADER' }}{% endif %}
"""


def template(*, thinks: bool = True, xml: bool = False, header: str = "") -> str:
    """The stock rules: thoughts only after the last user's turn; results share a user's turn."""
    turns = TURNS.replace("THINKS", "true" if thinks else "false").replace("HEADER", header)
    return (XML_SYSTEM if xml else SYSTEM) + turns.replace("CALL", XML_CALL if xml else JSON_CALL)


CODER_TURNS = """\
{%- for m in messages %}
{%- if m.role == 'assistant' and m.tool_calls %}
{{- '<|im_start|>assistant' }}
{%- if m.content | trim %}{{ '\\n' + (m.content | trim) + '\\n' }}{% endif %}
{%- for call in m.tool_calls %}{% set f = call.function or call %}
{{- '\\n<tool_call>\\n<function=' + f.name + '>\\n' }}
{%- for key, value in f.arguments.items() %}
{{- '<parameter=' + key + '>\\n' }}
{{- value | tojson if value is mapping else value | string }}{{ '\\n</parameter>\\n' }}
{%- endfor %}{{- '</function>\\n</tool_call>' }}
{%- endfor %}{{- '<|im_end|>\\n' }}
{%- elif m.role == 'tool' %}
{%- if loop.previtem and loop.previtem.role != 'tool' %}{{ '<|im_start|>user\\n' }}{% endif %}
{{- '<tool_response>\\n' + m.content + '\\n</tool_response>\\n' }}
{%- if loop.last or loop.nextitem.role != 'tool' %}{{ '<|im_end|>\\n' }}{% endif %}
{%- elif m.role != 'system' %}
{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}
{%- endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}
"""
"""Qwen3-Coder's rules: a line break after every result, two before a call, values by Python."""

LATEST_TURNS = """\
{%- set ns = namespace(last=-1) -%}
{%- for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}
{%- endfor %}
{%- for m in messages %}{% set content = (m.content or '') | trim %}
{%- if m.role == 'user' %}{{ '<|im_start|>user\\n' + content + '<|im_end|>\\n' }}
{%- elif m.role == 'assistant' %}
{{- '<|im_start|>assistant\\n' }}{% generation %}
{%- if loop.index0 > ns.last %}
{{- '<think>\\n' + ((m.reasoning_content or '') | trim) + '\\n</think>\\n\\n' }}{% endif %}
{{- content }}
{%- for call in m.tool_calls or [] %}{% set f = call.function or call %}
{%- if not loop.first %}{{ '\\n' }}{% elif content %}{{ '\\n\\n' }}{% endif %}
{{- '<tool_call>\\n<function=' + f.name + '>\\n' }}
{%- for key, value in f.arguments.items() %}
{{- '<parameter=' + key + '>\\n' }}{{ VALUE }}{{ '\\n</parameter>\\n' }}
{%- endfor %}{{- '</function>\\n</tool_call>' }}
{%- endfor %}{{- '<|im_end|>\\n' }}{% endgeneration %}
{%- elif m.role == 'tool' %}
{%- if loop.previtem and loop.previtem.role != 'tool' %}{{ '<|im_start|>user' }}{% endif %}
{{- '\\n<tool_response>\\n' + content + '\\n</tool_response>' }}
{%- if loop.last or loop.nextitem.role != 'tool' %}{{ '<|im_end|>\\n' }}{% endif %}
{%- endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\nHEADER' }}{% endif %}
"""
"""Rules of Qwen3.5 and 3.6: trimmed texts, a thought in every turn of the last exchange."""
SIMPLE_VALUES = "value | string if value is string or value is number or value is none"


def latest(value: str, header: str) -> str:
    return XML_SYSTEM + LATEST_TURNS.replace("VALUE", value).replace("HEADER", header)


QWEN25_SYSTEM = SYSTEM.replace(
    "{% if messages[0].role == 'system' %}{{ messages[0].content + '\\n\\n' }}{% endif -%}",
    "{% if messages[0].role == 'system' %}{{ messages[0].content + '\\n\\n' }}"
    "{% else %}{{ 'You are Q.\\n\\n' }}{% endif -%}",
).replace(
    "{%- endif -%}\n",
    "{%- else -%}\n{{ '<|im_start|>system\\nYou are Q.<|im_end|>\\n' }}\n{%- endif -%}\n",
)
"""Rules of Qwen2.5: a system turn of its own where a dialogue has none."""
QWEN38_SYSTEM = """\
{{- '<|im_start|>system\\nThink hard.\\n\\n' }}
{%- if tools %}{{ 'Functions:' }}{% for tool in tools %}
{{- '\\n<function><name>' + tool.function.name + '</name></function>' }}{% endfor %}
{{- '\\nCall: <tool_call>\\n<function=example>\\n</function>\\n</tool_call>\\n\\n' }}{% endif %}
{%- if messages[0].role == 'system' %}{{ messages[0].content }}{% endif %}
{{- '<|im_end|>\\n' }}
"""
"""Rules of Qwen3.8: an instruction of its own, then the tools, then the prompt."""
QWEN38_HISTORY = (
    "preserve_thinking is undefined or preserve_thinking is true or loop.index0 > ns.last"
)
QWEN36 = latest("value | string if value is string else value | tojson", "<think>\\n")


TEMPLATES = {
    "hybrid": template(),
    "qwen25": QWEN25_SYSTEM + template(thinks=False).removeprefix(SYSTEM),
    "instruct": template(thinks=False),
    "thinking": template(header="<think>\\n"),
    "xml": template(thinks=False, xml=True),
    "coder": XML_SYSTEM + CODER_TURNS,
    "qwen35": latest(f"{SIMPLE_VALUES} else value | tojson", "<think>\\n"),
    "qwen36": QWEN36,
    "qwen38": QWEN38_SYSTEM
    + QWEN36.removeprefix(XML_SYSTEM).replace("loop.index0 > ns.last", QWEN38_HISTORY),
    "nothink": latest(f"{SIMPLE_VALUES} else value | tojson", "<think>\\n\\n</think>\\n\\n"),
    "plain": PLAIN_SYSTEM
    + TURNS.replace("THINKS", "false").replace("HEADER", "").replace("CALL", ""),
}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_order",
            "description": "Reads an order — “whole”.",
            "parameters": {
                "type": "object",
                "properties": {
                    "order_id": {"type": "string"},
                    "count": {"type": "integer"},
                    "deep": {"type": "boolean"},
                    "items": {"type": "array", "items": {"type": "string"}},
                    "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                },
                "required": ["order_id"],
            },
        },
    }
]


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """Byte-level BPE with Qwen's pre-split, normaliser and added tokens."""
    made = Tokenizer(models.BPE())
    made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = BpeTrainer(vocab_size=600, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator([json.dumps(TOOLS), TURNS, "user\n\nassistant\n\nsystem\n"], trainer)
    made.add_special_tokens([AddedToken(tag, special=True) for tag in SPECIAL])
    made.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in PLAIN])
    return made


@pytest.fixture(scope="session")
def model_folder(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`model_folder("hybrid")`: an HF folder of that family."""

    def make(family: str, source: str | None = None, model_type: str = "") -> Path:
        model_type = model_type or ("qwen2" if family == "qwen25" else "qwen3")
        folder = tmp_path_factory.mktemp(family)
        tokenizer.save(str(folder / "tokenizer.json"))
        (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
        config = {"chat_template": TEMPLATES[family] if source is None else source}
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        return folder

    return make


def random_dialogue(seed: int) -> list[dict[str, Any]]:
    """Several exchanges; each has a thought, some have one or more calls before the answer."""
    rng = random.Random(seed)
    messages: list[dict[str, Any]] = []
    for turn in range(rng.randint(2, 5)):
        messages.append({"role": "user", "content": f"Question {turn}\n of {seed}?"})
        for step in range(rng.randint(0, 2)):
            calls = [
                {"name": "get_order", "arguments": {"order_id": f'#W{rng.randint(0, 999)} é"\n'}}
                for _ in range(rng.randint(1, 3))
            ]
            text = rng.choice(["", "Let me look."])
            messages.append(_agent(text, f"I need order {step}.", tool_calls=calls))
            messages += [{"role": "tool", "content": f'{{"n": {turn}}}'} for _ in calls]
        messages.append(_agent(f"Answer {turn}.", f"It is {rng.random()}."))
    return messages


def _agent(content: str, thinking: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, "thinking": thinking, **more}


def as_openai(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The names under which templates look for thoughts."""
    return [
        {**message, "reasoning_content": message["thinking"]} if "thinking" in message else message
        for message in messages
    ]


@pytest.fixture(scope="session")
def dialogues() -> list[list[dict[str, Any]]]:
    """100 multi-turn dialogues with calls."""
    return [random_dialogue(seed) for seed in range(100)]


@pytest.fixture(scope="session")
def openai() -> Callable[..., Any]:
    return as_openai


@pytest.fixture(scope="session")
def templates() -> dict[str, str]:
    return TEMPLATES


@pytest.fixture(scope="session")
def tools() -> list[dict[str, Any]]:
    return TOOLS
