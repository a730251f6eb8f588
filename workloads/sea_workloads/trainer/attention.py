"""Megatron core attention through torch's `scaled_dot_product_attention`.

Megatron's own CPU-capable attention builds the whole [b, heads, s, s] matrix; this one is linear in
memory, which prompts of thousands of tokens need. It takes the place of `core_attention` in the
layer spec (`trainer/model.py`), on every device.
"""

from typing import Any

import torch
from megatron.core.transformer.module import MegatronModule
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor
from torch.nn import functional

from sea_workloads.trainer.errors import LayoutError


class TorchAttention(MegatronModule):
    """Causal grouped-query attention over right-padded sequences."""

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
        if config.context_parallel_size != 1:
            raise LayoutError("Attention through torch knows no context parallelism: set it to 1.")
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
        """query [s, b, heads, d], key and value [s, b, groups, d] -> [s, b, heads * d].

        Padding stands right of the tokens, so the causal mask alone keeps it from real tokens.
        """
        assert packed_seq_params is None
        assert attention_bias is None
        q, k, v = (x.permute(1, 2, 0, 3) for x in (query, key, value))
        repeats = q.shape[1] // k.shape[1]
        if repeats > 1:  # enable_gqa leaves the memory-linear kernel on a CPU
            k, v = (x.repeat_interleave(repeats, dim=1) for x in (k, v))
        out = functional.scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=self.softmax_scale
        )
        return out.permute(2, 0, 1, 3).reshape(query.shape[0], query.shape[1], -1)

    def sharded_state_dict(self, *args: Any, **kwargs: Any) -> dict[str, torch.Tensor]:
        return {}
