"""Grouped products against one product per group, whatever the sizes of the groups."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from sea_runtime.trainer.grouped_linear import grouped_linear, stacked, swiglu

INNER, OUTER = 16, 24


def weights(count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(OUTER, INNER, generator=generator).requires_grad_() for _ in range(count)]


@pytest.mark.parametrize("sizes", [[3, 5], [0, 7, 0, 1], [4], [0, 0, 0], [1, 2, 3, 4, 5, 6, 7, 8]])
def test_each_group_is_multiplied_by_its_own_weight(sizes: list[int]) -> None:
    given = weights(len(sizes))
    rows = torch.randn(sum(sizes), INNER, generator=torch.Generator().manual_seed(2))
    rows.requires_grad_()
    ends = torch.tensor(sizes).cumsum(0).to(torch.int32)
    got = grouped_linear(rows, ends, given)
    parts = zip(rows.split(sizes), given, strict=True)
    wanted = torch.cat([functional.linear(part, weight) for part, weight in parts])
    torch.testing.assert_close(got, wanted)
    scale = torch.linspace(-1, 1, wanted.numel()).view_as(wanted)
    variables = [rows, *given]
    got_gradients = torch.autograd.grad((scale * got).sum(), variables)
    wanted_gradients = torch.autograd.grad((scale * wanted).sum(), variables)
    for ours, theirs in zip(got_gradients, wanted_gradients, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_weights_evenly_spaced_in_one_buffer_are_not_copied() -> None:
    """As Megatron's parameter buffer has them: each expert's two weights next to each other."""
    buffer = torch.arange(4 * 10, dtype=torch.float32)
    views = [buffer[10 * i : 10 * i + 6].view(2, 3) for i in range(4)]
    found = stacked(views)
    assert found.untyped_storage().data_ptr() == buffer.untyped_storage().data_ptr()
    assert torch.equal(found, torch.stack(views))


@pytest.mark.parametrize("order", [[3, 2, 1, 0], [0, 1, 3, 2], [0, 0, 1, 2]])
def test_other_weights_are_copied(order: list[int]) -> None:
    buffer = torch.arange(4 * 10, dtype=torch.float32)
    views = [buffer[10 * i : 10 * i + 6].view(2, 3) for i in order]
    assert torch.equal(stacked(views), torch.stack(views))
    apart = [view.clone() for view in views]
    assert torch.equal(stacked(apart), torch.stack(apart))


def test_the_activation_weighs_each_token() -> None:
    both = torch.randn(5, 8, generator=torch.Generator().manual_seed(3))
    scale = torch.linspace(0, 1, 5)[:, None]
    wanted = functional.silu(both[:, :4]) * both[:, 4:] * scale
    torch.testing.assert_close(swiglu("cpu")(both, scale), wanted)
    half = swiglu("cpu")(both.bfloat16(), scale)
    assert half.dtype is torch.bfloat16
