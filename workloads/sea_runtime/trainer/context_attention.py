"""Causal attention under context parallelism: each rank has two chunks of every sequence.

Keys and values of the row are gathered over the group, in the balanced split of `packing.part`; the
backward pass reduce-scatters their gradients. With few key-value heads they are small: those of
32,768 tokens take 17 MB per layer with one head of width 128 in bf16, so a ring is not needed.
"""

import itertools
from typing import Any

import numpy as np
import torch
from megatron.core import parallel_state
from megatron.core.tensor_parallel import gather_from_sequence_parallel_region
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.bias import causal_lower_right

from sea_runtime.trainer import packing
from sea_runtime.trainer.attention import TorchAttention


class ContextAttention(TorchAttention):
    """Causal grouped-query attention of this rank's tokens to all earlier ones of a sequence."""

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

        t are the rank's tokens; `packed_seq_params.cu_seqlens_q` bounds the sequences of the whole
        row.
        """
        group = parallel_state.get_context_parallel_group()
        ways, rank = group.size(), group.rank()
        bounds = packed_seq_params.cu_seqlens_q.tolist()
        both = gather_from_sequence_parallel_region(torch.stack((key, value), 1), group=group)
        gathered = np.concatenate([packing.part(bounds, ways, one) for one in range(ways)])
        # Where each token of the row is among the gathered parts.
        order = torch.from_numpy(np.argsort(gathered)).to(both.device)
        repeats = query.shape[1] // key.shape[1]
        key, value = (x.repeat_interleave(repeats, dim=1) for x in both[order].unbind(1))
        outs, at = [], 0
        for start, end in itertools.pairwise(bounds):
            for first, last in packing.part_chunks((start, end), ways, rank):
                size = last - first
                outs.append(self._chunk(query[at : at + size], key[start:last], value[start:last]))
                at += size
        return torch.cat(outs).flatten(1)

    def _chunk(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention of a chunk to the tokens up to its own end: all [s, heads, d]."""
        q, k, v = (x.transpose(0, 1)[None] for x in (query, key, value))
        mask = causal_lower_right(len(query), len(key))
        out = functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, scale=self.softmax_scale
        )
        return out[0].transpose(0, 1)
