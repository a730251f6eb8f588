"""Every tensor that a model folder must have, by Hugging Face name with its shape. Pure.

Matrices are [out, in] as in torch.nn.Linear; experts have one tensor each per projection.
"""

import re
from collections.abc import Iterator

from sea_data.models.shape import ModelShape

Sized = tuple[str, tuple[int, ...]]

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
_COMPUTED = re.compile(r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq")


def expected(shape: ModelShape) -> Iterator[Sized]:
    """(name, shape) of every tensor, in the order of the layers."""
    yield EMBEDDING, (shape.vocabulary, shape.hidden)
    for layer in range(shape.layers):
        prefix = f"model.layers.{layer}."
        yield f"{prefix}input_layernorm.weight", (shape.hidden,)
        yield from _attention(f"{prefix}self_attn.", shape)
        yield f"{prefix}post_attention_layernorm.weight", (shape.hidden,)
        yield from _experts(prefix, shape) if shape.experts else _mlp(f"{prefix}mlp.", shape)
    yield "model.norm.weight", (shape.hidden,)
    if not shape.tied:
        yield HEAD, (shape.vocabulary, shape.hidden)


def means_nothing(name: str, shape: ModelShape) -> bool:
    """True for a tensor that some publishers add and that every reader ignores.

    Frequencies are computed from config.json; a tied output layer is the embedding, if it has the
    same values (`folder_check`).
    """
    return bool(_COMPUTED.fullmatch(name)) or (shape.tied and name == HEAD)


def _attention(prefix: str, shape: ModelShape) -> Iterator[Sized]:
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    for letter, rows in (("q", queries), ("k", keys), ("v", keys)):
        yield f"{prefix}{letter}_proj.weight", (rows, shape.hidden)
        if shape.qkv_bias:
            yield f"{prefix}{letter}_proj.bias", (rows,)
    yield f"{prefix}o_proj.weight", (shape.hidden, queries)
    if shape.qk_norm:
        yield f"{prefix}q_norm.weight", (shape.head_dim,)
        yield f"{prefix}k_norm.weight", (shape.head_dim,)


def _mlp(prefix: str, shape: ModelShape, width: int = 0) -> Iterator[Sized]:
    rows = width or shape.ffn
    yield f"{prefix}gate_proj.weight", (rows, shape.hidden)
    yield f"{prefix}up_proj.weight", (rows, shape.hidden)
    yield f"{prefix}down_proj.weight", (shape.hidden, rows)


def _experts(prefix: str, shape: ModelShape) -> Iterator[Sized]:
    yield f"{prefix}mlp.gate.weight", (shape.experts, shape.hidden)
    for expert in range(shape.experts):
        yield from _mlp(f"{prefix}mlp.experts.{expert}.", shape, shape.expert_ffn)
