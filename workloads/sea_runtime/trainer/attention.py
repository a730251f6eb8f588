"""Megatron's core attention through torch's own kernels (`attention_kernels.py`).

Megatron's own CPU-capable attention builds the whole [b, heads, s, s] matrix; this one needs memory
linear in s, for prompts of thousands of tokens. It replaces `core_attention` in the layer spec
(`model.py`), on every device.
"""

from typing import Any

import torch
from megatron.core.transformer.module import MegatronModule
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor

from sea_runtime.trainer import attention_kernels


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
        out = attention_kernels.packed(query, key, value, packed_seq_params, self.softmax_scale)
        return out.flatten(1)

    def sharded_state_dict(self, *args: Any, **kwargs: Any) -> dict[str, torch.Tensor]:
        # No parameters of its own; Megatron asks every submodule for its part of a checkpoint.
        return {}
