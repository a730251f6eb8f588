"""Counts of parameters: of a whole model, of what one token uses, and of what one rank holds.

`parallel/weight_map.py` says which rows of which tensor a rank holds; the counts here are the sums,
cheap enough to compare thousands of layouts (a test holds the two equal).
"""

from dataclasses import dataclass

from sea_runtime.parallel.hf_config import ModelShape
from sea_runtime.parallel.parallel_layout import ParallelLayout


@dataclass(frozen=True)
class Count:
    """Parameters, by how many ranks hold a copy."""

    dense: int
    """Everything but the experts: copied on each data- and context-parallel rank."""
    experts: int
    """Copied on each expert-data-parallel rank."""

    @property
    def total(self) -> int:
        return self.dense + self.experts


def attention(shape: ModelShape) -> int:
    """The four projections of one layer."""
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    return shape.hidden * (2 * queries + 2 * keys)


def _norms(shape: ModelShape) -> int:
    return 2 * shape.hidden + 2 * shape.head_dim


def expert(shape: ModelShape) -> int:
    """Gate, up and down of one expert of one layer."""
    return 3 * shape.hidden * shape.expert_ffn


def of_model(shape: ModelShape) -> Count:
    """The whole model, as its safetensors hold it."""
    mlp = shape.experts * shape.hidden if shape.experts else 3 * shape.hidden * shape.ffn
    layer = attention(shape) + _norms(shape) + mlp
    ends = shape.vocabulary * shape.hidden * (1 if shape.tied else 2) + shape.hidden
    return Count(shape.layers * layer + ends, shape.layers * shape.experts * expert(shape))


def active(shape: ModelShape) -> int:
    """Parameters in the matrix products of one token: no embedding, the chosen experts only."""
    chosen = shape.experts * shape.hidden + shape.experts_per_token * expert(shape)
    mlp = chosen if shape.experts else 3 * shape.hidden * shape.ffn
    return shape.layers * (attention(shape) + mlp) + shape.vocabulary * shape.hidden


def of_rank(shape: ModelShape, layout: ParallelLayout, stage: int) -> Count:
    """What each rank of a pipeline stage holds; the tensor ranks of a stage hold equally much."""
    layers, tensor = layout.stage_layers[stage], layout.tensor
    # Norms and router are whole on each tensor rank.
    whole = _norms(shape) + (shape.experts * shape.hidden if shape.experts else 0)
    split = attention(shape) + (0 if shape.experts else 3 * shape.hidden * shape.ffn)
    dense = layers * (whole + split // tensor)
    rows = -(-shape.vocabulary // tensor) * shape.hidden
    first, last = stage == 0, stage == layout.pipeline - 1
    if first:
        dense += rows
    if last:
        dense += shape.hidden
        # Tied embeddings are one parameter where both ends are on one stage, otherwise two copies.
        dense += 0 if shape.tied and first else rows
    local = shape.experts // layout.expert
    return Count(dense, layers * local * expert(shape) // layout.expert_tensor)
