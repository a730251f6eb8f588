"""Random weights of the tiny model in HF's per-expert naming, written without torch."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file


def shapes(config: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every tensor's name and shape; matrices are [out, in] as torch.nn.Linear keeps them."""
    hidden = config["hidden_size"]
    yield "model.embed_tokens.weight", (config["vocab_size"], hidden)
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        yield prefix + "input_layernorm.weight", (hidden,)
        yield from _attention(prefix + "self_attn.", config)
        yield prefix + "post_attention_layernorm.weight", (hidden,)
        yield from _experts(prefix + "mlp.", config)
    yield "model.norm.weight", (hidden,)


def _attention(prefix: str, config: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden, width = config["hidden_size"], config["head_dim"]
    queries = config["num_attention_heads"] * width
    keys = config["num_key_value_heads"] * width
    yield prefix + "q_proj.weight", (queries, hidden)
    yield prefix + "k_proj.weight", (keys, hidden)
    yield prefix + "v_proj.weight", (keys, hidden)
    yield prefix + "o_proj.weight", (hidden, queries)
    yield prefix + "q_norm.weight", (width,)
    yield prefix + "k_norm.weight", (width,)


def _experts(prefix: str, config: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden, width = config["hidden_size"], config["moe_intermediate_size"]
    yield prefix + "gate.weight", (config["num_experts"], hidden)
    for expert in range(config["num_experts"]):
        yield f"{prefix}experts.{expert}.gate_proj.weight", (width, hidden)
        yield f"{prefix}experts.{expert}.up_proj.weight", (width, hidden)
        yield f"{prefix}experts.{expert}.down_proj.weight", (hidden, width)


def initial(config: Mapping[str, Any], seed: int) -> dict[str, NDArray[np.float32]]:
    """Normals of the configured deviation; one-dimensional tensors (norms) are ones."""
    random = np.random.default_rng(seed)
    deviation = np.float32(config["initializer_range"])
    return {
        name: (
            np.ones(shape, np.float32)
            if len(shape) == 1
            else random.standard_normal(shape, np.float32) * deviation
        )
        for name, shape in shapes(config)
    }


def write(path: Path, config: Mapping[str, Any], seed: int) -> None:
    """One safetensors file; `format: pt` is what transformers asks for."""
    save_file(initial(config, seed), str(path), metadata={"format": "pt"})
