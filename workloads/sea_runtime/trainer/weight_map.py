"""Where every weight is stored: names and layouts, Hugging Face <-> Megatron-core. Pure.

Used when a model is loaded (`hf_weights`), when a version is published (`publisher`) and when the
final model is exported (`export`). Hugging Face keeps one tensor per expert and projection;
Megatron fuses q, k, v per KV group, and gate and up.

Shapes: H hidden, D head_dim, G KV groups, P query heads per group, F MLP width.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from sea_runtime.parallel.hf_config import ModelShape


class Fusion(Enum):
    """How one Megatron parameter is made of Hugging Face tensors."""

    NONE = "none"
    QKV = "qkv"
    """[G * (P + 2) * D, H], biases without H: per KV group its query heads, then key, value."""
    GATE_UP = "gate_up"
    """[2F, H]: gate above up."""


@dataclass(frozen=True)
class Weight:
    """One Megatron parameter of this rank and the Hugging Face tensors it is made of."""

    megatron: str
    hf: tuple[str, ...]
    fusion: Fusion = Fusion.NONE
    expert: bool = False


def _attention(shape: ModelShape, layer: int, hf: str, te: bool) -> Iterator[Weight]:
    megatron = f"decoder.layers.{layer}."
    attention = f"{megatron}self_attention."
    # TransformerEngine fuses the norm into the projection that follows it.
    norm = "self_attention.linear_qkv.layer_norm_weight" if te else "input_layernorm.weight"
    qkv = tuple(f"{hf}self_attn.{x}_proj.weight" for x in "qkv")
    yield Weight(f"{megatron}{norm}", (f"{hf}input_layernorm.weight",))
    yield Weight(f"{attention}linear_qkv.weight", qkv, Fusion.QKV)
    if shape.qkv_bias:
        biases = tuple(f"{hf}self_attn.{x}_proj.bias" for x in "qkv")
        yield Weight(f"{attention}linear_qkv.bias", biases, Fusion.QKV)
    if shape.qk_norm:
        yield Weight(f"{attention}q_layernorm.weight", (f"{hf}self_attn.q_norm.weight",))
        yield Weight(f"{attention}k_layernorm.weight", (f"{hf}self_attn.k_norm.weight",))
    yield Weight(f"{attention}linear_proj.weight", (f"{hf}self_attn.o_proj.weight",))


def _mlp(template: str, hf: str, *, expert: bool) -> Iterator[Weight]:
    """`template` is the Megatron name with a hole for the layer within the MLP."""
    gate_up = (f"{hf}gate_proj.weight", f"{hf}up_proj.weight")
    yield Weight(template.format("linear_fc1"), gate_up, Fusion.GATE_UP, expert)
    yield Weight(template.format("linear_fc2"), (f"{hf}down_proj.weight",), Fusion.NONE, expert)


def _experts(layer: int, hf: str, experts: Sequence[int], te: bool) -> Iterator[Weight]:
    mlp = f"decoder.layers.{layer}.mlp."
    yield Weight(f"{mlp}router.weight", (f"{hf}mlp.gate.weight",))
    for local, index in enumerate(experts):
        template = (
            f"{mlp}experts.{{}}.weight{local}"
            if te
            else f"{mlp}experts.local_experts.{local}.{{}}.weight"
        )
        yield from _mlp(template, f"{hf}mlp.experts.{index}.", expert=True)


def rank_weights(shape: ModelShape, experts: Sequence[int], te: bool = False) -> list[Weight]:
    """All parameters of a rank that holds the given global experts.

    Args:
        te: names them as Megatron's TransformerEngine spec does (norm fused into the projection,
            grouped experts), otherwise as its local spec does.
    """
    found = [Weight("embedding.word_embeddings.weight", ("model.embed_tokens.weight",))]
    for layer in range(shape.layers):
        hf = f"model.layers.{layer}."
        found += _attention(shape, layer, hf, te)
        norm = f"decoder.layers.{layer}."
        norm += (
            "pre_mlp_layernorm.weight"
            if shape.experts or not te
            else "mlp.linear_fc1.layer_norm_weight"
        )
        found.append(Weight(norm, (f"{hf}post_attention_layernorm.weight",)))
        if shape.experts:
            found += _experts(layer, hf, experts, te)
        else:
            found += _mlp(f"decoder.layers.{layer}.mlp.{{}}.weight", f"{hf}mlp.", expert=False)
    found.append(Weight("decoder.final_layernorm.weight", ("model.norm.weight",)))
    # Tied: Megatron's output layer has no parameter of its own.
    if not shape.tied:
        found.append(Weight("output_layer.weight", ("lm_head.weight",)))
    return found


def to_megatron(weight: Weight, tensors: Sequence[Tensor], shape: ModelShape) -> Tensor:
    """The Megatron parameter of `weight.hf`'s tensors, given in that order."""
    if weight.fusion is Fusion.NONE:
        return tensors[0]
    if weight.fusion is Fusion.GATE_UP:
        return torch.cat(list(tensors), dim=0)
    # q [G*P*D, H], k and v [G*D, H] -> [G, rows per group, H], joined per KV group; biases have
    # no last dimension.
    width = tensors[0].shape[1:]
    grouped = [tensor.view(shape.kv_heads, -1, *width) for tensor in tensors]
    return torch.cat(grouped, dim=1).reshape(-1, *width)


def to_hf(weight: Weight, parameter: Tensor, shape: ModelShape) -> tuple[Tensor, ...]:
    """The Hugging Face tensors of a Megatron parameter, in the order of `weight.hf` (views)."""
    if weight.fusion is Fusion.NONE:
        return (parameter,)
    if weight.fusion is Fusion.GATE_UP:
        gate, up = parameter.chunk(2, dim=0)
        return gate, up
    rows = [shape.heads_per_group * shape.head_dim, shape.head_dim, shape.head_dim]
    width = parameter.shape[1:]
    parts = parameter.view(shape.kv_heads, sum(rows), *width).split(rows, dim=1)
    # reshape copies here: a group's rows aren't adjacent in the fused parameter.
    q, k, v = (part.reshape(-1, *width) for part in parts)
    return q, k, v


def published(found: Iterable[Weight], *, dense: bool, experts: bool) -> list[Weight]:
    """The weights that a rank publishes: dense ones and each expert from exactly one rank."""
    return [weight for weight in found if (experts if weight.expert else dense)]
