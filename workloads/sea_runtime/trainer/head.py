"""Log-probabilities and entropies of the model's last layer, without its logits of a whole row.

A row of T tokens has T x V logits: at 32,768 tokens and 151,936 entries 20 GB in FP32, several
times. This autograd function computes them in chunks of rows, keeps one number per row, and
computes a chunk again in the backward pass. Called on the last pipeline stage.

The vocabulary may be divided over a tensor-parallel group: each rank has V/TP rows of the weight,
and two small all-reduces per chunk make the softmax whole.

Shape suffixes: t tokens of a row, c rows of a chunk, h hidden, v the rank's part of the vocabulary.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

CHUNK_BYTES = {"cpu": 4 << 20, "cuda": 512 << 20}
"""FP32 logits of one chunk. Small on a CPU, so that the passes over a chunk stay in its cache; on a
GPU large, since every chunk also adds to the whole FP32 gradient of the weight."""
MIN_CHUNK_ROWS = 64
KEPT_BYTES = 64 << 20
"""Exponentials of all chunks up to this size are kept for the backward pass, which then computes no
logits again: rows of a small vocabulary. At 151,936 entries they are those of 110 tokens."""


def token_values(
    hidden_th: Tensor,
    weight_vh: Tensor,
    labels_t: Tensor,
    temperature: float,
    group: Any,
    vocabulary: int,
    *,
    entropy: bool,
) -> Tensor:
    """log p of each label and the entropy of the distribution that it is from, FP32 [2, T] in nats.

    Both are 0 where a label is -1, and such a row costs nothing: in a dialogue, most. A gradient
    reaches `hidden_th` and `weight_vh`; that of `hidden_th` is this rank's part of a sum over the
    group.

    Args:
        hidden_th: whole rows, the same on every rank of the group, [T, H].
        weight_vh: this rank's rows of the output embedding, [V/TP, H].
        labels_t: id of the token that each row predicts, int64, [T].
        temperature: divides the logits, as the sampler's does.
        group: the tensor-parallel group; None is a group of one.
        vocabulary: entries of the tokenizer; rows of the weights beyond it are padding.
        entropy: false leaves the entropies 0.
    """
    rows = (labels_t >= 0).nonzero()[:, 0]
    part = _Part.of(weight_vh.shape[0], vocabulary, group)
    options = _Options.of(part, len(rows), hidden_th.device.type, temperature, entropy)
    found = _Logprobs.apply(
        hidden_th.index_select(0, rows), weight_vh, labels_t.index_select(0, rows), part, options
    )
    out = hidden_th.new_zeros((2, len(labels_t)), dtype=torch.float32)
    return out.index_copy(1, rows, torch.stack(found))


@dataclass(frozen=True)
class _Options:
    temperature: float
    entropy: bool
    chunk: int
    """Rows that are computed at a time."""
    keep: bool
    """Keep the exponentials for the backward pass."""

    @staticmethod
    def of(
        part: "_Part", tokens: int, device: str, temperature: float, entropy: bool
    ) -> "_Options":
        row_bytes = 4 * part.valid
        chunk = max(MIN_CHUNK_ROWS, CHUNK_BYTES.get(device, CHUNK_BYTES["cuda"]) // row_bytes)
        # A forward pass alone (proximal log-probabilities, validation) keeps nothing.
        keep = torch.is_grad_enabled() and tokens * row_bytes <= KEPT_BYTES
        return _Options(temperature, entropy, chunk, keep)


@dataclass(frozen=True)
class _Part:
    """The entries `start` to `start + valid` of the vocabulary, and the group with the others."""

    start: int
    valid: int
    empty: bool
    """The rank has padding only: one entry stands for it, with a probability of 0."""
    group: Any

    @staticmethod
    def of(rows: int, vocabulary: int, group: Any) -> "_Part":
        group = None if group is None or group.size() == 1 else group
        start = rows * (group.rank() if group is not None else 0)
        valid = min(rows, vocabulary - start)
        return _Part(start, max(1, valid), valid < 1, group)

    def reduce(self, values: Tensor, operation: Any = dist.ReduceOp.SUM) -> Tensor:
        """Over the group; its time-out holds."""
        if self.group is not None:
            dist.all_reduce(values, operation, group=self.group)
        return values

    def local(self, labels_c: Tensor) -> tuple[Tensor, Tensor]:
        """Column of each label, [c, 1], and true where this rank has it, [c]."""
        own_c = labels_c - self.start
        here_c = (own_c >= 0) & (own_c < (0 if self.empty else self.valid))
        return own_c.clamp(0, self.valid - 1)[:, None], here_c

    def logits(self, hidden_ch: Tensor, weight_vh: Tensor, temperature: float) -> Tensor:
        """Logits divided by the temperature, a new tensor [c, V] in FP32."""
        # The product in the model's dtype, as everywhere. Padded columns don't exist.
        logits_cv = (hidden_ch @ weight_vh[: self.valid].T).float()
        if self.empty:
            return logits_cv.fill_(-torch.inf)
        return logits_cv if temperature == 1.0 else logits_cv.div_(temperature)


class _Logprobs(torch.autograd.Function):
    """Log-probabilities and entropies of rows that all have a label."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_th: Tensor,
        weight_vh: Tensor,
        labels_t: Tensor,
        part: _Part,
        options: _Options,
    ) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        tokens = hidden_th.shape[0]
        # Filled chunk by chunk: log p, entropy, largest logit, log of the sum of exponentials.
        found = hidden_th.new_zeros((4, tokens), dtype=torch.float32)
        kept: list[Tensor] = []
        for first in range(0, tokens, options.chunk):
            rows = slice(first, first + options.chunk)
            # In a function of its own: a name here would keep a chunk alive through the next one.
            kept += _forward_chunk(
                hidden_th[rows], weight_vh, labels_t[rows], part, options, found[:, rows]
            )
        ctx.save_for_backward(hidden_th, weight_vh, labels_t, found[1:], *kept)
        ctx.settings = part, options
        return found[0].clone(), found[1].clone()

    @staticmethod
    def backward(ctx: Any, d_logp_t: Tensor | None, d_entropy_t: Tensor | None) -> Any:
        hidden_th, weight_vh, labels_t, found, *kept = ctx.saved_tensors
        part, options = ctx.settings
        d_hidden_th = torch.empty_like(hidden_th)
        # In FP32 over the chunks: a sum of many bf16 terms would lose the small ones.
        d_weight_vh = torch.zeros_like(weight_vh, dtype=torch.float32)
        for number, first in enumerate(range(0, hidden_th.shape[0], options.chunk)):
            rows = slice(first, first + options.chunk)
            d_cv = _d_logits(
                _probabilities(
                    hidden_th[rows],
                    weight_vh,
                    kept[number : number + 1],
                    part,
                    options,
                    found[1:, rows],
                ),
                None if d_logp_t is None else d_logp_t[rows] / options.temperature,
                None if d_entropy_t is None else d_entropy_t[rows] / options.temperature,
                found[0, rows],
                part.local(labels_t[rows]),
            ).to(hidden_th.dtype)
            torch.mm(d_cv, weight_vh[: part.valid], out=d_hidden_th[rows])
            _add_product(d_weight_vh[: part.valid], d_cv.T, hidden_th[rows])
            del d_cv  # before the next chunk
        return d_hidden_th, d_weight_vh.to(weight_vh.dtype), None, None, None


def _forward_chunk(
    hidden_ch: Tensor,
    weight_vh: Tensor,
    labels_c: Tensor,
    part: _Part,
    options: _Options,
    out: Tensor,
) -> list[Tensor]:
    """Fills `out` [4, c] (see `forward`); returns exp(logits - largest) if it is kept."""
    logits_cv = part.logits(hidden_ch, weight_vh, options.temperature)
    # The largest over all ranks first: exponentials relative to it can't overflow.
    top_c = part.reduce(logits_cv.amax(dim=1), dist.ReduceOp.MAX)
    logits_cv.sub_(top_c[:, None])
    column, here_c = part.local(labels_c)
    picked_c = logits_cv.gather(1, column)[:, 0].masked_fill(~here_c, 0.0)
    exp_cv = logits_cv.exp_()
    # entr(e) = -e log e = -e (z - largest): no copy of the logits is needed.
    entr_c = torch.special.entr(exp_cv).sum(dim=1) if options.entropy else torch.zeros_like(top_c)
    sum_c, entr_c, picked_c = part.reduce(torch.stack([exp_cv.sum(dim=1), entr_c, picked_c]))
    out[2], out[3] = top_c, sum_c.log()
    out[0] = picked_c - out[3]
    if options.entropy:  # H = log S - sum(e (z - largest)) / S
        out[1] = out[3] + entr_c / sum_c
    return [exp_cv] if options.keep else []


def _probabilities(
    hidden_ch: Tensor,
    weight_vh: Tensor,
    kept: list[Tensor],
    part: _Part,
    options: _Options,
    found: Tensor,
) -> Tensor:
    """[c, V], a new tensor; `found` [2, c] is the largest logit and the log of the sum."""
    top_c, log_sum_c = found
    if kept:
        return kept[0] * log_sum_c.neg().exp()[:, None]
    logits_cv = part.logits(hidden_ch, weight_vh, options.temperature)
    return logits_cv.sub_((top_c + log_sum_c)[:, None]).exp_()


def _d_logits(
    p_cv: Tensor,
    d_logp_c: Tensor | None,
    d_entropy_c: Tensor | None,
    entropy_c: Tensor,
    label: tuple[Tensor, Tensor],
) -> Tensor:
    """Gradient of the scaled logits, [c, V], in place of the probabilities.

    d log p(y) / dz = [y] - p and dH / dz = -p (log p + H).
    """
    if d_entropy_c is None:
        assert d_logp_c is not None
        d_cv = p_cv.mul_(d_logp_c.neg()[:, None])
    else:
        # entr(p) = -p log p.
        d_cv = torch.special.entr(p_cv).addcmul_(p_cv, entropy_c[:, None], value=-1.0)
        d_cv.mul_(d_entropy_c[:, None])
        if d_logp_c is not None:
            d_cv.addcmul_(p_cv, d_logp_c[:, None], value=-1.0)
    if d_logp_c is not None:
        column, here_c = label
        d_cv.scatter_add_(1, column, d_logp_c.masked_fill(~here_c, 0.0)[:, None])
    return d_cv


def _add_product(sum_vh: Tensor, left: Tensor, right: Tensor) -> None:
    """sum_vh += left @ right, with the sum in FP32."""
    if left.dtype is torch.float32:
        sum_vh.addmm_(left, right)
    else:
        sum_vh.add_(left @ right)
