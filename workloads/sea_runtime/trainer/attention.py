"""Megatron's core attention through torch's own kernels (`attention_kernels.py`).

Megatron's own CPU-capable attention builds the whole [b, heads, s, s] matrix; this one needs memory
linear in s, for prompts of thousands of tokens. It replaces `core_attention` in the layer spec
(`megatron_config.py`), on every device.

Under context parallelism each rank has two chunks of every sequence. Keys and values of the row are
gathered over the group; the backward pass reduce-scatters their gradients. With few key-value heads
they are small: those of 32,768 tokens take 17 MB per layer with one head of width 128 in bf16, so a
ring is not needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from megatron.core import parallel_state
from megatron.core.packed_seq_params import PackedSeqParams
from megatron.core.tensor_parallel import gather_from_sequence_parallel_region
from megatron.core.transformer.module import MegatronModule
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor

from sea_runtime.trainer import attention_kernels, packed_row
from sea_runtime.trainer.packed_row import PackedRow
from sea_runtime.trainer.row_spans import RowSpans, Span


@dataclass
class RowParams(PackedSeqParams):
    """What a microbatch's row is, for Megatron's layers; made by `of`."""

    spans: RowSpans | None = None
    """What each of this rank's tokens attends to."""
    gathered: Tensor | None = None
    """Under context parallelism: where each token of the row is among the gathered parts."""
    positions: Tensor | None = None
    """[T] of each token's number in its sequence, for RoPE; None under context parallelism, where
    Megatron counts by the balanced split of `packed_row.part`."""

    read: "RowParams | None" = None
    """For the last layer, where it has the queries of few tokens (`last_layer.py`)."""

    @property
    def read_index(self) -> Tensor | None:
        """int64 [R], positions of the row that the last layer computes, sorted; None: all."""
        read = self.read.spans if self.read else None
        return None if read is None else read.read_index

    @classmethod
    def of(
        cls,
        row: PackedRow,
        context: int,
        rank: int,
        device: torch.device,
        read: Sequence[int] | None = None,
    ) -> "RowParams":
        """`read`: positions that the last layer computes, sorted; None: all."""
        positions = row.positions()
        if context > 1:
            bounds: Sequence[int] = row.bounds
            parts = np.concatenate([packed_row.part(bounds, context, i) for i in range(context)])
            more = {"gathered": torch.from_numpy(np.argsort(parts)).to(device)}
            spans = context_spans(bounds, context, rank)
        else:
            # One sequence with given positions: Megatron then turns all queries in one operation.
            bounds = (0, row.length)
            more = {"positions": torch.from_numpy(positions).to(device)}
            spans = row.spans()
        # int32 [sequences + 1]. Queries and keys share it: every token is both.
        starts = torch.tensor(bounds, dtype=torch.int32, device=device)
        longest = int(positions.max()) + 1
        return cls(
            qkv_format="thd",
            cu_seqlens_q=starts,
            cu_seqlens_kv=starts,
            max_seqlen_q=longest,
            max_seqlen_kv=longest,
            spans=RowSpans(spans, device),
            read=None if read is None else cls._of_read(starts, RowSpans(spans, device, read)),
            **more,
        )

    @classmethod
    def _of_read(cls, starts: Tensor, spans: RowSpans) -> "RowParams":
        """Queries of the read tokens, keys of all."""
        assert spans.read is not None
        count = len(spans.read)
        return cls(
            qkv_format="thd",
            cu_seqlens_q=starts.new_tensor([0, count]),
            cu_seqlens_kv=starts,
            max_seqlen_q=count,
            max_seqlen_kv=spans.spans[-1].end,
            spans=spans,
        )


def context_spans(bounds: Sequence[int], context: int, rank: int) -> list[Span]:
    """Spans of a rank's chunks: queries are its own tokens, keys those of the whole row."""
    found: list[Span] = []
    at = 0
    for start, end in pairwise(bounds):
        for first, last in packed_row.part_chunks((start, end), context, rank):
            found.append(Span(at, at + last - first, first, start, first - start))
            at += last - first
    return found


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
        """query [t, heads, d], key and value [t, groups, d] -> [t, heads * d]; t are the rank's
        tokens of the row, of the query only those that are read where the spans say so.
        """
        assert isinstance(packed_seq_params, RowParams)
        assert packed_seq_params.spans is not None
        assert attention_bias is None
        if packed_seq_params.gathered is not None:
            group = parallel_state.get_context_parallel_group()
            both = gather_from_sequence_parallel_region(torch.stack((key, value), 1), group=group)
            key, value = both[packed_seq_params.gathered].unbind(1)
        out = attention_kernels.packed(
            query, key, value, packed_seq_params.spans, self.softmax_scale
        )
        return out.flatten(1)

    def sharded_state_dict(self, *args: Any, **kwargs: Any) -> dict[str, torch.Tensor]:
        # No parameters of its own; Megatron asks every submodule for its part of a checkpoint.
        return {}
