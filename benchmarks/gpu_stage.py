"""One pipeline stage of the reference run on one device, from the trainer's kernels; torch only.

Qwen3-235B-A22B in the reference layout (tensor 4, pipeline 12, expert 4): a rank computes 16 of 64
query heads, one of 4 key-value heads, and 32 of 128 experts, which get 8 x 32 / 128 = 2 rows per
token of the row on average. So the stage here has 16 heads, one group and 32 experts with 2 per
token: the same products as on a rank, without the sending between ranks.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from sea_runtime.trainer import attention_kernels, head
from sea_runtime.trainer.grouped_linear import grouped_linear, swiglu
from sea_runtime.trainer.row_spans import RowSpans, Span


@dataclass(frozen=True)
class Sizes:
    """Sizes of one rank's part of a model."""

    layers: int = 8
    hidden: int = 4096
    heads: int = 16
    groups: int = 1
    channels: int = 128
    experts: int = 32
    chosen: int = 2
    expert_width: int = 1536
    vocabulary: int = 151_936 // 4
    tokens: int = 32_768
    sequences: int = 4

    @property
    def parameters(self) -> int:
        queries, keys = self.heads * self.channels, self.groups * self.channels
        attention = self.hidden * (2 * queries + 2 * keys) + 2 * self.channels
        experts = 3 * self.experts * self.hidden * self.expert_width
        layer = attention + experts + self.experts * self.hidden + 2 * self.hidden
        return self.layers * layer + self.vocabulary * self.hidden

    @property
    def forward_operations(self) -> float:
        """Operations of one row, the head's included; a multiplication and addition are two."""
        queries, keys = self.heads * self.channels, self.groups * self.channels
        weights = self.hidden * (2 * queries + 2 * keys + self.experts)
        weights += 3 * self.chosen * self.hidden * self.expert_width
        # Causal: half of the pairs of a sequence.
        pairs = self.tokens * self.tokens / self.sequences / 2
        layers = self.layers * (2 * self.tokens * weights + 4 * pairs * queries)
        return float(layers + 2 * self.tokens * self.hidden * self.vocabulary)


TINY = Sizes(2, 64, 4, 2, 16, 4, 2, 32, 256, 64, 2)
"""For a CPU: seconds."""


class Layer(nn.Module):
    def __init__(self, sizes: Sizes, device: str, dtype: torch.dtype) -> None:
        super().__init__()
        self.sizes = sizes
        queries, keys = sizes.heads * sizes.channels, sizes.groups * sizes.channels

        def weight(*shape: int) -> nn.Parameter:
            values = torch.empty(*shape, device=device, dtype=dtype).normal_(std=0.02)
            return nn.Parameter(values)

        def ones(size: int) -> nn.Parameter:
            return nn.Parameter(torch.ones(size, device=device, dtype=dtype))

        self.norm1, self.norm2 = ones(sizes.hidden), ones(sizes.hidden)
        self.q_norm, self.k_norm = ones(sizes.channels), ones(sizes.channels)
        self.qkv = weight(queries + 2 * keys, sizes.hidden)
        self.out = weight(sizes.hidden, queries)
        self.router = weight(sizes.experts, sizes.hidden)
        # Evenly spaced, as in Megatron's parameter buffer.
        self.fc1 = weight(sizes.experts, 2 * sizes.expert_width, sizes.hidden)
        self.fc2 = weight(sizes.experts, sizes.hidden, sizes.expert_width)

    def forward(self, hidden_th: Tensor, rope: tuple[Tensor, Tensor], spans: RowSpans) -> Tensor:
        """[T, H] -> [T, H]."""
        hidden_th = hidden_th + self._attention(_norm(hidden_th, self.norm1), rope, spans)
        return hidden_th + self._experts(_norm(hidden_th, self.norm2))

    def _attention(self, hidden_th: Tensor, rope: tuple[Tensor, Tensor], spans: RowSpans) -> Tensor:
        sizes = self.sizes
        rows = [sizes.heads * sizes.channels, *[sizes.groups * sizes.channels] * 2]
        parts = functional.linear(hidden_th, self.qkv).split(rows, dim=1)
        q, k, v = (part.view(len(hidden_th), -1, sizes.channels) for part in parts)
        q, k = _rotate(_norm(q, self.q_norm), *rope), _rotate(_norm(k, self.k_norm), *rope)
        return functional.linear(
            attention_kernels.packed(q, k, v, spans, None).flatten(1), self.out
        )

    def _experts(self, hidden_th: Tensor) -> Tensor:
        sizes = self.sizes
        scores = functional.linear(hidden_th, self.router).float().softmax(dim=1)
        weights, chosen = scores.topk(sizes.chosen, dim=1)
        weights = weights / weights.sum(dim=1, keepdim=True)
        order = chosen.flatten().argsort(stable=True)
        ends = chosen.flatten().bincount(minlength=sizes.experts).cumsum(0).to(torch.int32)
        token_of = order // sizes.chosen
        both = grouped_linear(hidden_th[token_of], ends, self.fc1.unbind(0))
        inner = swiglu(hidden_th.device.type)(both, weights.flatten()[order][:, None])
        out = grouped_linear(inner, ends, self.fc2.unbind(0))
        return torch.zeros_like(hidden_th).index_add(0, token_of, out)


class Stage(nn.Module):
    """The last stage of a pipeline: layers, norm, head."""

    def __init__(self, sizes: Sizes, device: str, dtype: torch.dtype) -> None:
        super().__init__()
        self.sizes = sizes
        self.layers = nn.ModuleList(Layer(sizes, device, dtype) for _ in range(sizes.layers))
        self.norm = nn.Parameter(torch.ones(sizes.hidden, device=device, dtype=dtype))
        values = torch.empty(sizes.vocabulary, sizes.hidden, device=device, dtype=dtype)
        self.head = nn.Parameter(values.normal_(std=0.02))

    def forward(self, hidden_th: Tensor, labels_t: Tensor, *, recompute: bool) -> Tensor:
        """log p of the labels, [T]; with `recompute` each layer keeps its input only."""
        spans = self._spans(hidden_th)
        rope = self._rope(hidden_th)
        for layer in self.layers:
            if recompute:
                hidden_th = checkpoint(layer, hidden_th, rope, spans, use_reentrant=False)
            else:
                hidden_th = layer(hidden_th, rope, spans)
        hidden_th = _norm(hidden_th, self.norm)
        vocabulary = self.sizes.vocabulary
        return head.token_values(
            hidden_th, self.head, labels_t, 1.0, None, vocabulary, entropy=False
        )[0]

    def _spans(self, hidden_th: Tensor) -> RowSpans:
        length = self.sizes.tokens // self.sizes.sequences
        starts = range(0, self.sizes.tokens, length)
        return RowSpans([Span(a, a + length, a) for a in starts], hidden_th.device)

    def _rope(self, hidden_th: Tensor) -> tuple[Tensor, Tensor]:
        length, channels = self.sizes.tokens // self.sizes.sequences, self.sizes.channels
        position = torch.arange(self.sizes.tokens, device=hidden_th.device) % length
        rates = torch.arange(0, channels, 2, device=hidden_th.device) / channels
        angles = torch.outer(position, 1_000_000.0**-rates).repeat(1, 2)[:, None]
        return angles.cos().to(hidden_th.dtype), angles.sin().to(hidden_th.dtype)


def _norm(values: Tensor, weight: Tensor) -> Tensor:
    return functional.rms_norm(values, weight.shape, weight, 1e-6)


def _rotate(values: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    left, right = values.chunk(2, dim=-1)
    return values * cos + torch.cat((-right, left), dim=-1) * sin
