"""Bytes that a layer keeps for its backward pass, by what is recomputed. Pure.

Counted from the modules that run (`trainer/model.py`, Megatron-core's local layers): an operation
keeps its inputs if its gradient needs them. Per token of a row, in elements of the model's dtype,
before anything is divided over ranks:

    norms         hidden each: their input; their output is the next projection's input
    attention     q, k, v before and after the norms of q and k, and after the rotation; the output
    experts       per chosen expert: its input row, gate and up, their product, its output row
    MLP           the same once, with the dense width

Sequence parallelism divides all of it by `tensor`: norms and residuals by tokens, the rest by heads
or columns. Context parallelism divides the tokens of a row.

Source of the method: Korthikanti et al., Reducing Activation Recomputation in Large Transformer
Models, https://arxiv.org/abs/2205.05198, with the counts of these modules.
"""

from enum import StrEnum

from sea_runtime.parallel.hf_config import ModelShape
from sea_runtime.parallel.parallel_layout import ParallelLayout

EXPERT_IMBALANCE = 2.0
"""Rows of the busiest rank of an expert group, over the mean: routing is not balanced in one layer,
while over many layers the means of ranks agree."""


class Recompute(StrEnum):
    """What the backward pass computes again instead of keeping it."""

    NONE = "None"
    SELECTIVE = "Selective"
    """Attention's core and the experts of each layer."""
    FULL = "Full"
    """Whole layers: only each layer's input is kept."""


def _attention(shape: ModelShape) -> float:
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    # Input of the norm, its output; q and k before their norms, v; q and k after them; q and k
    # rotated; the output of attention, which the projection keeps.
    return 2 * shape.hidden + (queries + 2 * keys) + 2 * (queries + keys) + 2 * queries


def _mlp(shape: ModelShape) -> float:
    """Without the rows that experts keep."""
    if shape.experts:
        # Input and output of the norm; the router keeps its input in FP32, twice a bf16's size.
        return 4 * shape.hidden + 3 * shape.experts
    return 2 * shape.hidden + 4 * shape.ffn


def _expert_rows(shape: ModelShape) -> float:
    """Per token, over its chosen experts: input row, gate and up, activated, product, output."""
    row = 2 * shape.hidden + 5 * shape.expert_ffn
    return shape.experts_per_token * row


def layer_elements(shape: ModelShape, layout: ParallelLayout, recompute: Recompute) -> float:
    """Elements that one layer keeps per token of a row, on each rank."""
    split = layout.tensor * layout.context
    if recompute is Recompute.FULL:
        return shape.hidden / split
    # Expert-tensor ranks gather each other's rows and hold a part of the columns.
    gathered = layout.expert_tensor
    rows = 0.0
    if shape.experts:
        columns = 2 * shape.hidden + 5 * shape.expert_ffn / layout.expert_tensor
        rows = gathered * shape.experts_per_token * columns
    if recompute is Recompute.SELECTIVE:
        queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        kept = 4 * shape.hidden + 2 * (queries + 2 * keys) + queries
        return kept / split
    return (_attention(shape) + _mlp(shape) + rows) / split


def working_elements(shape: ModelShape, layout: ParallelLayout) -> float:
    """Elements per token while one layer's backward pass runs: what it keeps, and its gradients.

    The experts' part is that of the busiest rank.
    """
    split = layout.tensor * layout.context
    rows = 0.0
    if shape.experts:
        columns = 2 * shape.hidden + 5 * shape.expert_ffn / layout.expert_tensor
        rows = layout.expert_tensor * shape.experts_per_token * columns
        rows *= EXPERT_IMBALANCE if layout.expert > 1 else 1.0
    kept = _attention(shape) + _mlp(shape) + rows
    # Gradients of the largest operation at a time: about half of what the layer keeps.
    return 1.5 * kept / split


def in_flight(layout: ParallelLayout, stage: int, microbatches: int) -> int:
    """Microbatches whose activations a stage keeps at one time, under one-forward-one-backward."""
    return min(layout.pipeline - stage, max(1, microbatches))
