"""What a model's loaders take of each tensor is recorded, or refused with the tensor's name."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from vllm.model_executor.model_loader.reload import layerwise
from vllm.model_executor.model_loader.weight_utils import default_weight_loader

from sea_runtime.parallel.regions import Region
from sea_runtime.rollout.vllm_plugin import recorder
from sea_runtime.rollout.vllm_plugin.recorder import Copy, UnsupportedModelError

ROWS = COLUMNS = 4
TYPES = {"t": (torch.float32, (2 * ROWS, COLUMNS))}


class Model(nn.Module):
    """One parameter, which `take` loads from a tensor of twice as many rows."""

    def __init__(self, take: Callable[[Tensor, Tensor], None]) -> None:
        super().__init__()
        self.layer = nn.Linear(COLUMNS, ROWS, bias=False)
        weight: Any = self.layer.weight
        weight.weight_loader = lambda parameter, tensor: take(parameter, tensor)
        layerwise.record_metadata_for_reloading(self)

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        for _, tensor in weights:
            weight: Any = self.layer.weight
            weight.weight_loader(weight, tensor)


def second_half(parameter: Tensor, tensor: Tensor) -> None:
    default_weight_loader(parameter, tensor.narrow(0, ROWS, ROWS))


def scaled(parameter: Tensor, tensor: Tensor) -> None:
    """As of a quantized model."""
    default_weight_loader(parameter, tensor.narrow(0, 0, ROWS) * 2)


def every_other_row(parameter: Tensor, tensor: Tensor) -> None:
    default_weight_loader(parameter, tensor[::2])


def one_row(parameter: Tensor, tensor: Tensor) -> None:
    parameter.data[0].copy_(tensor[0])


def test_a_slice_is_recorded_and_the_model_keeps_its_weights() -> None:
    model = Model(second_half)
    before = model.layer.weight.detach().clone()
    ((layer, copies),) = recorder.record(model, TYPES).layers
    half = Region((ROWS, 0), (ROWS, COLUMNS))
    assert layer is model.layer
    assert copies == (Copy("weight", 0, (ROWS, COLUMNS), (COLUMNS, 1), "t", half),)
    assert torch.equal(model.layer.weight, before)


@pytest.mark.parametrize(
    ("take", "words"),
    [
        (scaled, "one of its weight loaders needs values"),
        (every_other_row, "takes of the tensor t what slices can't say"),
        (one_row, "of a Linear the loaders assign only 4"),
    ],
)
def test_what_slices_cannot_say_is_refused_and_the_model_keeps_its_weights(
    take: Callable[[Tensor, Tensor], None], words: str
) -> None:
    """An engine that would be updated wrongly keeps what it has."""
    model = Model(take)
    before = model.layer.weight.detach().clone()
    with pytest.raises(UnsupportedModelError, match=words):
        recorder.record(model, TYPES)
    assert torch.equal(model.layer.weight, before)
