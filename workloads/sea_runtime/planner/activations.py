"""Bytes that a layer keeps for its backward pass, by what is recomputed. Pure.

Counted from the modules that run (`trainer/gpt.py`, `experts.py`, `attention_kernels.py`,
Megatron-core's local layers): an operation keeps its inputs if its gradient needs them. Per token
of a row, in elements of the model's dtype, before anything is divided over ranks.

Tensor parallelism divides all of it: norms and residuals by tokens (sequence parallelism), the rest
by heads or columns. Context parallelism divides the tokens of a row.

Source of the method: Korthikanti et al., Reducing Activation Recomputation in Large Transformer
Models, https://arxiv.org/abs/2205.05198, with the counts of these modules; `make bench-plan`
compares the sums with what real steps hold.
"""

from dataclasses import dataclass

from sea_api.v1alpha1.trainer_memory import Recomputation
from sea_runtime.parallel.hf_config import ModelShape
from sea_runtime.parallel.parallel_layout import ParallelLayout

EXPERT_IMBALANCE = 2.0
"""Rows of the busiest rank of an expert group, over the mean: routing is not balanced in one layer,
while over many layers the means of ranks agree."""


@dataclass(frozen=True)
class Kernels:
    """How the operations of a device keep what they need."""

    activation: int
    """Widths of an MLP or expert that are kept between its two products."""
    separate: int
    """1 if norms keep what they normalized next to their input; 0 if they are single kernels."""


GPU = Kernels(activation=3, separate=0)
"""gate and up, and their product: the activation is one kernel (`grouped_linear.swiglu`)."""
CPU = Kernels(activation=5, separate=1)
"""Also the activated gate, and the product before it is scaled."""


def _attention(shape: ModelShape, kernels: Kernels) -> float:
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    # Input and output of the norm; q, k and v as they are projected; cosines and sines; q and k
    # rotated, and the output, which the projection after it keeps too.
    kept = 2 * shape.hidden + (queries + 2 * keys) + 4 * shape.head_dim + (queries + keys) + queries
    # Normalized: the layer's input, q and k, these once more with their weights.
    return kept + kernels.separate * (shape.hidden + 2 * (queries + keys))


def _mlp_input(shape: ModelShape, kernels: Kernels) -> float:
    """Input and output of the norm before the MLP, and what it normalized."""
    return (2 + kernels.separate) * shape.hidden


def _router(shape: ModelShape, element: int) -> float:
    """Its input in FP32, logits and probabilities."""
    if not shape.experts:
        return 0.0
    # FP32 values take 4 / element of the model's elements; an input that is FP32 already is no
    # copy.
    return (shape.hidden * (4 / element if element < 4 else 0)) + 3 * shape.experts * 4 / element


def _inner(shape: ModelShape, layout: ParallelLayout, kernels: Kernels, rows: int = 1) -> float:
    """What the MLP, or the chosen experts of a token, keep: `rows` of their input's width too."""
    if not shape.experts:
        return kernels.activation * shape.ffn + (rows - 1) * shape.hidden
    # Expert-tensor ranks gather each other's rows and hold a part of the columns.
    columns = rows * shape.hidden + kernels.activation * shape.expert_ffn / layout.expert_tensor
    return layout.expert_tensor * shape.experts_per_token * columns


def layer_elements(
    shape: ModelShape,
    layout: ParallelLayout,
    recomputation: Recomputation,
    *,
    element: int = 2,
    kernels: Kernels = GPU,
) -> float:
    """Elements that one layer keeps per token of a row, on each rank."""
    split = layout.tensor * layout.context
    if recomputation is Recomputation.FULL:
        return shape.hidden / split
    kept = _attention(shape, kernels) + _mlp_input(shape, kernels)
    if recomputation is Recomputation.NONE:
        kept += _router(shape, element) + _inner(shape, layout, kernels)
    return kept / split


def working_elements(
    shape: ModelShape,
    layout: ParallelLayout,
    recomputation: Recomputation,
    *,
    element: int = 2,
    kernels: Kernels = GPU,
) -> float:
    """Elements per token while one layer's backward pass runs, on top of what layers keep.

    What the layer computes again, and the gradients inside its MLP or experts, on the busiest rank
    of an expert group.
    """
    split = layout.tensor * layout.context
    busiest = _imbalance(shape, layout)
    # As many again as the inner operations keep, and those of their input and output.
    gradients = _inner(shape, layout, kernels, rows=2) * busiest
    if recomputation is Recomputation.NONE:
        return gradients / split
    again = _inner(shape, layout, kernels) * busiest + _router(shape, element)
    if recomputation is Recomputation.FULL:
        again += _attention(shape, kernels) + _mlp_input(shape, kernels)
    return (again + gradients) / split


def _imbalance(shape: ModelShape, layout: ParallelLayout) -> float:
    return EXPERT_IMBALANCE if shape.experts and layout.expert > 1 else 1.0


def in_flight(layout: ParallelLayout, stage: int, microbatches: int) -> int:
    """Microbatches whose activations a stage keeps at one time, under one-forward-one-backward."""
    return min(layout.pipeline - stage, max(1, microbatches))
