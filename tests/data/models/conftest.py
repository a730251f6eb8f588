"""Configurations as transformers 4 and 5 write them, and small folders of weights."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from sea_data.models import tensors
from sea_data.models.shape import ModelShape

QWEN3 = {
    "architectures": ["Qwen3ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "head_dim": 128,
    "hidden_act": "silu",
    "hidden_size": 1024,
    "initializer_range": 0.02,
    "intermediate_size": 3072,
    "max_position_embeddings": 40960,
    "max_window_layers": 28,
    "model_type": "qwen3",
    "num_attention_heads": 16,
    "num_hidden_layers": 28,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 1000000,
    "sliding_window": None,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.51.0",
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": 151936,
}
"""As Qwen3-0.6B is published."""
_MOE_ONLY = {
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "moe_intermediate_size": 1536,
    "norm_topk_prob": True,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "output_router_logits": False,
    "router_aux_loss_coef": 0.001,
}
MOE = {
    **QWEN3,
    **_MOE_ONLY,
    "architectures": ["Qwen3MoeForCausalLM"],
    "model_type": "qwen3_moe",
    "tie_word_embeddings": False,
}
QWEN2 = {
    **{k: v for k, v in QWEN3.items() if k not in ("attention_bias", "head_dim", "rope_scaling")},
    "architectures": ["Qwen2ForCausalLM"],
    "hidden_size": 896,
    "max_window_layers": 21,
    "model_type": "qwen2",
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "sliding_window": 32768,
}
"""As Qwen2.5-0.5B-Instruct is published: a window that is switched off."""
FAMILIES: Mapping[str, dict[str, Any]] = {"qwen2": QWEN2, "qwen3": QWEN3, "moe": MOE}


@pytest.fixture(scope="session")
def configs() -> Mapping[str, dict[str, Any]]:
    return FAMILIES


SIZES = {"F32": 4, "BF16": 2, "F16": 2, "F8_E4M3": 1, "U8": 1}


def safetensors(named: Mapping[str, tuple[str, tuple[int, ...]]]) -> bytes:
    """A file of zeros with these tensors: {name: (dtype, shape)}."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, (dtype, shape) in named.items():
        begin, count = end, SIZES[dtype]
        for size in shape:
            count *= size
        end += count
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(end)


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """`write({tensor: (dtype, shape)}, ...)`: a folder with one file, or with shards and index."""

    def make(*shards: Mapping[str, tuple[str, tuple[int, ...]]]) -> Path:
        names = ["model.safetensors"]
        if len(shards) > 1:
            names = [f"model-{i:05d}-of-{len(shards):05d}.safetensors" for i in range(1, 3)]
            index = {t: f for f, shard in zip(names, shards, strict=True) for t in shard}
            (tmp_path / "model.safetensors.index.json").write_text(
                json.dumps({"metadata": {"total_size": 1}, "weight_map": index})
            )
        for name, shard in zip(names, shards, strict=True):
            (tmp_path / name).write_bytes(safetensors(shard))
        return tmp_path

    return make


@pytest.fixture(scope="session")
def named() -> Callable[..., dict[str, tuple[str, tuple[int, ...]]]]:
    """All tensors of a shape, as `write` wants them."""

    def make(shape: ModelShape, dtype: str = "BF16") -> dict[str, tuple[str, tuple[int, ...]]]:
        return {name: (dtype, sizes) for name, sizes in tensors.expected(shape)}

    return make
