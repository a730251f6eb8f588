"""Builds the HF folder of `builtin:tiny`: tokenizer, config, random weights.

`sea model tiny` and the coordinator call `build`. Sizes and the initialiser are those of a model
that learned the shop's dialogues on a laptop (initializer_range 0.05, tied embeddings, fp32).
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sea_data.tiny_model import vocabulary, weights
from sea_data.tiny_model.template import CHAT_TEMPLATE
from sea_env.tokens import markup

LARGEST_VOCABULARY = 1024

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
    """Writes the folder `out`, which vLLM and transformers load as it is.

    `texts` are what the tokenizer is trained on, free of tags (`sea_data.tiny_model.corpus`
    makes them from a job's data); `context_length` is in tokens. The same arguments give the
    same bytes.
    """
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = vocabulary.train(texts, LARGEST_VOCABULARY)
    tokenizer.save(str(out / "tokenizer.json"))
    end = tokenizer.token_to_id(markup.IM_END)
    padding = tokenizer.token_to_id(markup.END_OF_TEXT)
    config = ARCHITECTURE | {
        "vocab_size": tokenizer.get_vocab_size(),
        "max_position_embeddings": context_length,
        "bos_token_id": None,
        "eos_token_id": end,
        "pad_token_id": padding,
    }
    _write(out / "config.json", config)
    _write(
        out / "generation_config.json", {"eos_token_id": [end, padding], "pad_token_id": padding}
    )
    _write(out / "tokenizer_config.json", _tokenizer_config(context_length))
    weights.write(out / "model.safetensors", config, seed)


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


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
