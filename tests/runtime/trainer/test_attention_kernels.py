"""Causal attention of one sequence against the formula, and which kernel a machine gets."""

import pytest
import torch
from torch import Tensor

from sea_runtime.trainer import attention_kernels

WIDTH = 16


def formula(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k / sqrt(d)) v over the tokens so far, [S, heads, D]."""
    repeats = q.shape[1] // k.shape[1]
    k, v = (x.repeat_interleave(repeats, dim=1) for x in (k, v))
    scores = torch.einsum("shd,thd->hst", q, k) / WIDTH**0.5
    future = torch.triu(torch.ones(len(q), len(q), dtype=torch.bool), 1)
    return torch.einsum("hst,thd->shd", scores.masked_fill(future, -torch.inf).softmax(-1), v)


@pytest.mark.parametrize("tokens", [1, 7, 600, 1100])
@pytest.mark.parametrize(("heads", "groups"), [(4, 4), (4, 2), (6, 1)])
def test_one_sequence_equals_the_formula(tokens: int, heads: int, groups: int) -> None:
    generator = torch.Generator().manual_seed(tokens)
    shapes = ((tokens, heads, WIDTH), (tokens, groups, WIDTH), (tokens, groups, WIDTH))
    q, k, v = (torch.randn(*shape, generator=generator, requires_grad=True) for shape in shapes)
    given = q, k, v
    got, wanted = attention_kernels.one_sequence(q, k, v, None), formula(q, k, v)
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-5)
    scale = torch.linspace(-1, 1, wanted.numel()).view_as(wanted)
    ours = torch.autograd.grad((scale * got).sum(), given)
    theirs = torch.autograd.grad((scale * wanted).sum(), given)
    for one, other in zip(ours, theirs, strict=True):
        assert float((one - other).abs().max()) < 1e-5 * max(1.0, float(other.abs().max()))


@pytest.mark.parametrize(
    ("device", "dtype", "wanted"),
    [
        ("cuda", torch.bfloat16, True),
        ("cuda", torch.float32, False),
        ("cpu", torch.bfloat16, False),
        ("cpu", torch.float32, False),
    ],
)
def test_flash_kernels_are_for_half_precision_on_a_gpu(
    device: str, dtype: torch.dtype, wanted: bool
) -> None:
    assert attention_kernels.has_varlen(device, dtype) is wanted
