"""Megatron's GPTModel that gives log-probabilities instead of logits, and its norm.

`model.build` makes one per rank; attention is `attention.py`, log-probabilities are `head.py`.
"""

from typing import Any

import torch
from megatron.core import parallel_state, tensor_parallel
from megatron.core.models.gpt.gpt_model import GPTModel
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor, nn

from sea_runtime.trainer import head
from sea_runtime.trainer.attention import RowParams


class Policy(GPTModel):
    """A GPTModel whose last stage returns log-probabilities of the labels, not logits."""

    temperature = 1.0
    """Sampling temperature that the log-probabilities are for; set before each pass."""
    entropy = False
    """Compute the entropies; set before each pass."""
    vocabulary = 0
    """Entries, without the rows that pad it."""

    def _preprocess(self, *args: Any, **options: Any) -> tuple[Any, ...]:
        """What the layers get; the angles of RoPE are those of each token's own position."""
        hidden, angles, *others = super()._preprocess(*args, **options)
        row: RowParams = options["packed_seq_params"]
        if row.positions is not None:  # [longest, 1, 1, D] -> [T, 1, 1, D]
            angles = angles[row.positions]
        return hidden, angles, *others

    def _postprocess(
        self, hidden_states: Tensor, labels: Tensor, packed_seq_params: RowParams, **_: Any
    ) -> Tensor:
        """hidden [T / tensor, 1, H] -> [2, T], log p of labels and the entropy of what they are
        drawn from (0 unless asked for); the hidden states on other stages.
        """
        if not self.post_process:
            return hidden_states
        index = packed_seq_params.read_index
        if index is None:
            return self._token_values(hidden_states, labels[0])
        values_2r = self._token_values(hidden_states, labels[0, index])
        return values_2r.new_zeros((2, labels.shape[1])).index_copy(1, index, values_2r)

    def _token_values(self, hidden_states: Tensor, labels_t: Tensor) -> Tensor:
        """hidden [T / tensor, 1, H] -> [2, T]."""
        weight_vh = (
            self.shared_embedding_or_output_weight()
            if self.share_embeddings_and_output_weights
            else self.output_layer.weight
        )
        group = parallel_state.get_tensor_model_parallel_group()
        if self.config.sequence_parallel:
            # Its backward pass is a reduce-scatter, which sums what the ranks' parts of the
            # vocabulary contribute to the gradient.
            hidden_t1h = tensor_parallel.gather_from_sequence_parallel_region(hidden_states)
        else:
            hidden_t1h = hidden_states
        return head.token_values(
            hidden_t1h[:, 0],
            weight_vh,
            labels_t,
            self.temperature,
            group,
            self.vocabulary,
            entropy=self.entropy,
        )


class Norm(nn.Module):
    """RMSNorm, marked for `finalize_model_grads` where each rank has only a part of the tokens."""

    def __init__(self, config: TransformerConfig, hidden_size: int, eps: float, **_: Any) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(hidden_size, dtype=config.params_dtype))
        # Without it the gradient of a norm is that of this rank's tokens only, and the replicas
        # drift apart while the loss looks right.
        self.weight.sequence_parallel = config.sequence_parallel

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.rms_norm(x, self.weight.shape, self.weight, self.eps)
