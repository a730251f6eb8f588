"""Megatron's core attention through torch's `scaled_dot_product_attention`.

Megatron's own CPU-capable attention builds the whole [b, heads, s, s] matrix; this one needs memory
linear in s, for prompts of thousands of tokens. It replaces `core_attention` in the layer spec
(`model.py`), on every device.
"""

import itertools
from typing import Any

import torch
from megatron.core.transformer.module import MegatronModule
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor
from torch.nn import functional


class TorchAttention(MegatronModule):
    """Causal grouped-query attention over the sequences of a packed row."""

    def __init__(
        self,
        config: TransformerConfig,
        layer_number: int,
        attn_mask_type: Any,
        attention_type: str,
        attention_dropout: float | None = None,
        softmax_scale: float | None = None,
        cp_comm_type: str | None = None,
        pg_collection: Any = None,
    ) -> None:
        super().__init__(config=config)
        self.softmax_scale = softmax_scale

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        attn_mask_type: Any = None,
        attention_bias: Tensor | None = None,
        packed_seq_params: Any = None,
    ) -> Tensor:
        """query [t, heads, d], key and value [t, groups, d] -> [t, heads * d].

        `packed_seq_params.cu_seqlens_q` says where each sequence of the row begins; a token attends
        to itself and to the tokens before it in its own sequence.
        """
        assert packed_seq_params is not None
        assert attention_bias is None
        repeats = query.shape[1] // key.shape[1]
        if repeats > 1:  # enable_gqa would leave the memory-linear kernel on a CPU
            key, value = (x.repeat_interleave(repeats, dim=1) for x in (key, value))
        # On a GPU this waits for the device; `model.logits` makes the tensor from a list.
        starts = packed_seq_params.cu_seqlens_q.tolist()
        lengths = [b - a for a, b in itertools.pairwise(starts)]
        parts = zip(*(x.split(lengths) for x in (query, key, value)), strict=True)
        # One call per sequence: sequences must not see each other, and a mask of [t, t] would cost
        # the memory that this class saves.
        return torch.cat([self._sequence(q, k, v) for q, k, v in parts]).flatten(1)

    def _sequence(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention of one sequence: all [s, heads, d]."""
        # [s, heads, d] -> [1, heads, s, d], as scaled_dot_product_attention wants it.
        q, k, v = (x.transpose(0, 1)[None] for x in (query, key, value))
        out = functional.scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=self.softmax_scale
        )
        return out[0].transpose(0, 1)

    def sharded_state_dict(self, *args: Any, **kwargs: Any) -> dict[str, torch.Tensor]:
        # No parameters of its own; Megatron asks every submodule for its part of a checkpoint.
        return {}
