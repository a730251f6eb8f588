"""Shapes of the models that the examples name, so that a plan needs no network. Pure.

The numbers are those of each model's config.json on Hugging Face.
"""

import json
from collections.abc import Mapping
from typing import Any

from sea_data.tiny_model.model_folder import ARCHITECTURE, MAX_VOCABULARY
from sea_runtime.parallel import hf_config
from sea_runtime.parallel.hf_config import ModelShape

Config = Mapping[str, Any]


def _moe(layers: int, hidden: int, heads: int, kv: int, expert: int, context: int) -> Config:
    return {
        "architectures": ["Qwen3MoeForCausalLM"],
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "head_dim": 128,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "moe_intermediate_size": expert,
        "vocab_size": 151936,
        "max_position_embeddings": context,
        "tie_word_embeddings": False,
        "rope_theta": 5000000.0,
    }


def _dense(
    layers: int, hidden: int, heads: int, ffn: int, *, tied: bool = False, context: int = 40960
) -> Config:
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "intermediate_size": ffn,
        "vocab_size": 151936,
        "max_position_embeddings": context,
        "tie_word_embeddings": tied,
        "rope_theta": 1000000.0,
    }


CONFIGS: Mapping[str, Config] = {
    "Qwen3-235B-A22B": _moe(94, 4096, 64, 4, 1536, 262144),
    "Qwen3-30B-A3B": _moe(48, 2048, 32, 4, 768, 262144),
    "Qwen3-32B": _dense(64, 5120, 64, 25600),
    "Qwen3-14B": _dense(40, 5120, 40, 17408),
    "Qwen3-8B": _dense(36, 4096, 32, 12288),
    "Qwen3-4B": _dense(36, 2560, 32, 9728, tied=True),
    "Qwen3-1.7B": _dense(28, 2048, 16, 6144, tied=True),
    "Qwen3-0.6B": _dense(28, 1024, 16, 3072, tied=True),
    "tiny": {**ARCHITECTURE, "vocab_size": MAX_VOCABULARY, "max_position_embeddings": 512},
}
"""By the name that a source's last part begins with."""


def of_source(source: str) -> ModelShape | None:
    """The shape of `hf://Qwen/Qwen3-235B-A22B-Thinking-2507` or `builtin:tiny`; None if unknown.

    An address in S3 says nothing about what is stored there.
    """
    if source.startswith("s3://"):
        return None
    name = source.removeprefix("builtin:").rpartition("/")[2].partition("@")[0]
    # The longest first: Qwen3-30B-A3B-Base is not another Qwen3-30B.
    known = sorted(CONFIGS, key=len, reverse=True)
    found = next((one for one in known if name == one or name.startswith(f"{one}-")), None)
    return hf_config.parse(json.dumps(CONFIGS[found])) if found else None
