"""Recorded experts instead of the router's own; `test_component_layouts.py` runs whole models."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sea_runtime.trainer.packed_row import CHOOSE, PackedRow
from sea_runtime.trainer.packing import Grid, Microbatch
from sea_runtime.trainer.router_replay import LayerReplay
from sea_runtime.trainer.shared_prefixes import Part

SCORES = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]])


def top_k(scores: Tensor, k: int, **_: Any) -> tuple[Tensor, Tensor]:
    return torch.topk(scores, k, dim=1)


def chosen(layer: LayerReplay, scores: Tensor = SCORES) -> list[list[int]]:
    return layer.get_replay_topk(scores, 2, default_compute_topk=top_k)[1].tolist()


def test_recorded_experts_replace_the_routers_choice_token_by_token() -> None:
    layer = LayerReplay(recomputed=False)
    assert chosen(layer) == [[3, 2], [0, 1]]
    layer.begin(torch.tensor([[0, 1], [CHOOSE, CHOOSE]], dtype=torch.int16))
    values, experts = layer.get_replay_topk(SCORES, 2, default_compute_topk=top_k)
    assert experts.tolist() == [[0, 1], [0, 1]]
    assert torch.equal(values, torch.tensor([[0.1, 0.2], [0.4, 0.3]]))
    layer.begin(None)
    assert chosen(layer) == [[3, 2], [0, 1]]


def test_the_router_is_trained_through_the_probabilities_of_recorded_experts() -> None:
    scores = SCORES.clone().requires_grad_()
    layer = LayerReplay(recomputed=False)
    layer.begin(torch.tensor([[0, 1], [2, 3]], dtype=torch.int16))
    layer.get_replay_topk(scores, 2, default_compute_topk=top_k)[0].sum().backward()
    assert scores.grad is not None
    assert scores.grad.tolist() == [[1, 1, 0, 0], [0, 0, 1, 1]]


def test_a_recomputed_pass_gets_the_experts_of_its_own_microbatch() -> None:
    """Two microbatches go forward before the first goes backward, as in a pipeline."""
    layer = LayerReplay(recomputed=True)
    first, second = ([[a, b]] * 2 for a, b in ((0, 1), (2, 3)))
    for experts in (first, second):
        layer.begin(torch.tensor(experts, dtype=torch.int16))
        with torch.no_grad():  # a checkpointed layer's first pass
            assert chosen(layer) == experts
    assert [chosen(layer), chosen(layer)] == [first, second]


def test_passes_without_gradients_leave_nothing_for_a_backward_pass() -> None:
    layer = LayerReplay(recomputed=True)
    with torch.no_grad():
        layer.begin(torch.tensor([[0, 1]] * 2, dtype=torch.int16))
        assert chosen(layer) == [[0, 1]] * 2
    layer.begin(torch.tensor([[2, 3]] * 2, dtype=torch.int16))
    assert chosen(layer) == [[2, 3]] * 2
    layer.begin(torch.tensor([[0, 1]] * 2, dtype=torch.int16))
    layer.clear()
    with pytest.raises(IndexError):
        chosen(layer)


def test_a_row_has_the_experts_of_its_tokens() -> None:
    """A prompt that two sequences share has those of the first; padding has none."""
    choices = [
        np.arange(n * 3 * 2).reshape(n, 3, 2).astype(np.uint8) + 100 * i
        for i, n in enumerate((4, 5))
    ]
    bundle = (Part(0, 0, 4), Part(1, 3, 5))
    microbatch = Microbatch(((bundle, (Part(2, 0, 2),)),), (9,))
    row = PackedRow.of(microbatch, 0, [4, 5, 2], Grid(1))
    found = row.experts([*choices, None])
    assert found is not None
    assert found[:4].tolist() == choices[0].tolist()
    assert found[4:6].tolist() == choices[1][3:5].tolist()
    assert (found[6:] == CHOOSE).all()
    assert row.experts([None] * 3) is None
