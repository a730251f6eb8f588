"""Builds the HF folder of `builtin:tiny`: tokenizer, config, chat template, random weights.

`sea model tiny` and the coordinator call `build`. Sizes and initialization are those of a model
that learned the shop's dialogues on a laptop (initializer_range 0.05, tied embeddings, fp32).
Weights have HF's names, one tensor per expert.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from sea_data.models import shape as model_shape
from sea_data.models import tensors
from sea_data.tiny_model import tokenizer
from sea_env.tokens import markup

CHAT_TEMPLATE = """\
{%- for message in messages -%}
{%- if message.role == 'tool' -%}
{%- if loop.first or messages[loop.index0 - 1].role != 'tool' -%}
{{- '<|im_start|>user\\n' -}}
{%- endif -%}
{{- '<tool_response>' + (message.content or '') + '</tool_response>' -}}
{%- if loop.last or messages[loop.index0 + 1].role != 'tool' -%}
{{- '<|im_end|>' -}}
{%- endif -%}
{%- else -%}
{{- '<|im_start|>' + message.role + '\\n' + (message.content or '') -}}
{%- for call in message.tool_calls or [] -%}
{%- set call = call.function if call.function is defined else call -%}
{{- '<tool_call>{"name":"' + call.name + '","arguments":' -}}
{{- call.arguments if call.arguments is string
    else call.arguments | tojson(separators=(',', ':'), ensure_ascii=False) -}}
{{- '}</tool_call>' -}}
{%- endfor -%}
{{- '<|im_end|>' -}}
{%- endif -%}
{%- if not loop.last
    and (message.role != 'tool' or messages[loop.index0 + 1].role != 'tool') -%}
{{- '\\n' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '\\n<|im_start|>assistant\\n' -}}
{%- endif -%}
"""


def initial_weights(config: Mapping[str, Any], seed: int) -> dict[str, NDArray[np.float32]]:
    """Normal with the configured deviation; one-dimensional tensors (norms) are ones."""
    random = np.random.default_rng(seed)
    deviation = np.float32(config["initializer_range"])
    return {
        name: (
            np.ones(shape, np.float32)
            if len(shape) == 1
            else random.standard_normal(shape, np.float32) * deviation
        )
        for name, shape in tensors.expected(model_shape.of_config(config))
    }


def _write_weights(path: Path, config: Mapping[str, Any], seed: int) -> None:
    # transformers refuses a file without `format: pt`.
    save_file(initial_weights(config, seed), str(path), metadata={"format": "pt"})


MAX_VOCABULARY = 1024

ARCHITECTURE: dict[str, Any] = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "model_type": "qwen3_moe",
    "dtype": "float32",
    "hidden_act": "silu",
    "hidden_size": 192,
    "intermediate_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "attention_bias": False,
    "attention_dropout": 0.0,
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 128,
    "norm_topk_prob": True,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "output_router_logits": False,
    "router_aux_loss_coef": 0.001,
    "initializer_range": 0.05,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    "sliding_window": None,
    "use_sliding_window": False,
    "tie_word_embeddings": True,
    "use_cache": True,
}


def build(texts: Iterable[str], out: Path, context_length: int, seed: int = 0) -> None:
    """Writes the folder `out`, which vLLM and transformers load directly.

    The tokenizer is trained on `texts`, which contain no tags (`tokenizer.texts` makes them from
    dialogues). `context_length` is in tokens. Equal arguments give equal bytes.
    """
    out.mkdir(parents=True, exist_ok=True)
    trained = tokenizer.train(texts, MAX_VOCABULARY)
    trained.save(str(out / "tokenizer.json"))
    end = trained.token_to_id(markup.IM_END)
    padding = trained.token_to_id(markup.END_OF_TEXT)
    config = ARCHITECTURE | {
        "vocab_size": trained.get_vocab_size(),
        "max_position_embeddings": context_length,
        "bos_token_id": None,
        "eos_token_id": end,
        "pad_token_id": padding,
    }
    _write_json(out / "config.json", config)
    _write_json(
        out / "generation_config.json", {"eos_token_id": [end, padding], "pad_token_id": padding}
    )
    _write_json(out / "tokenizer_config.json", _tokenizer_config(context_length))
    _write_weights(out / "model.safetensors", config, seed)


def _tokenizer_config(context_length: int) -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": markup.IM_END,
        "pad_token": markup.END_OF_TEXT,
        "extra_special_tokens": [
            tag for tag in markup.SPECIAL_TOKENS if tag not in {markup.IM_END, markup.END_OF_TEXT}
        ],
        "chat_template": CHAT_TEMPLATE,
        "model_max_length": context_length,
        "clean_up_tokenization_spaces": False,
    }


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
