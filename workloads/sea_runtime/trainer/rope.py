"""Frequencies of scaled rotary embeddings, put into a built model. Used by `model.build`.

Megatron computes unscaled ones and Llama 3.1's with fixed numbers; this file computes those that
the model's `config.json` names, in FP32 and in the order of operations of transformers
(`modeling_rope_utils.py`, release 5), so that both have the same bits.
"""

import math
from typing import Any

import torch
from torch import Tensor

from sea_data.models.rope import RopeScaling
from sea_data.models.shape import ModelShape


def scale(gpt: Any, shape: ModelShape) -> None:
    """Replaces the frequencies of a GPTModel whose shape has rope scaling."""
    if shape.rope_scaling is None:
        return
    embedding = gpt.rotary_pos_emb
    frequencies = inverse_frequencies(shape.rope_scaling, shape.rope_theta, shape.head_dim)
    assert frequencies.shape == embedding.inv_freq.shape
    embedding.inv_freq = frequencies.to(embedding.inv_freq.device)


def softmax_scale(shape: ModelShape) -> float | None:
    """Scale of the attention's scores; None for Megatron's own, 1 / sqrt(head_dim).

    transformers multiplies cosine and sine by the attention factor, so queries and keys both carry
    it: their product carries its square.
    """
    if shape.rope_scaling is None or shape.rope_scaling.attention_factor == 1.0:
        return None
    return shape.rope_scaling.attention_factor**2 / math.sqrt(shape.head_dim)


def inverse_frequencies(scaling: RopeScaling, theta: float, dim: int) -> Tensor:
    """Radians per token of each pair of dimensions, [dim / 2] in FP32."""
    exponents = torch.arange(0, dim, 2, dtype=torch.int64).float() / dim
    plain = 1.0 / (theta**exponents)
    if scaling.kind == "linear":
        return plain / scaling.factor
    if scaling.kind == "llama3":
        return _llama3(scaling, plain)
    return _yarn(scaling, theta**exponents, theta, dim)


def _llama3(scaling: RopeScaling, plain: Tensor) -> Tensor:
    """Long waves are slowed by the factor, short ones kept, those between interpolated."""
    longest = scaling.original / scaling.low_freq_factor
    shortest = scaling.original / scaling.high_freq_factor
    waves = 2 * math.pi / plain
    scaled = torch.where(waves > longest, plain / scaling.factor, plain)
    smooth = (scaling.original / waves - scaling.low_freq_factor) / (
        scaling.high_freq_factor - scaling.low_freq_factor
    )
    between = (1 - smooth) * scaled / scaling.factor + smooth * scaled
    return torch.where(~(waves < shortest) * ~(waves > longest), between, scaled)


def _yarn(scaling: RopeScaling, powers: Tensor, theta: float, dim: int) -> Tensor:
    """YaRN, arXiv 2309.00071 section 3.2: dimensions that turn often enough keep their speed."""

    def dimension(rotations: float) -> float:
        """The dimension that turns this often within the original context."""
        span = math.log(scaling.original / (rotations * 2 * math.pi))
        return (dim * span) / (2 * math.log(theta))

    low, high = dimension(scaling.beta_fast), dimension(scaling.beta_slow)
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    if low == high:
        high += 0.001  # no division by zero
    ramp = (torch.arange(dim // 2, dtype=torch.float32) - low) / (high - low)
    kept = 1 - torch.clamp(ramp, 0, 1)
    return 1.0 / (scaling.factor * powers) * (1 - kept) + 1.0 / powers * kept
