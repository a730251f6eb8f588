"""What the pause copies: the recorded copies of a layer, joined where both sides are adjacent."""

from collections.abc import Sequence

import pytest
import torch
from torch import nn

from sea_runtime.parallel.regions import Region, contiguous_strides
from sea_runtime.rollout.vllm_plugin.recorder import Copy, Recording
from sea_runtime.rollout.vllm_plugin.staged_tensors import StagedTensors, Write, writes
from sea_runtime.transport import manifest
from sea_runtime.transport.read_plan import reads_of
from sea_runtime.wire.weights import Shard, WeightVersion

EXPERTS, WIDTH, HIDDEN = 4, 8, 16
SHAPES: dict[str, tuple[int, ...]] = {
    "w13": (EXPERTS, 2 * WIDTH, HIDDEN),
    "w2": (EXPERTS, HIDDEN, WIDTH),
}


def of_experts(order: Sequence[str]) -> tuple[dict[str, torch.Tensor], list[Copy]]:
    """Hugging Face tensors of all experts, by expert and then in this order, and vLLM's copies."""
    tensors, copies = {}, []
    for expert in range(EXPERTS):
        for name in order:
            shape = (HIDDEN, WIDTH) if name == "down" else (WIDTH, HIDDEN)
            tensor = f"experts.{expert}.{name}"
            tensors[tensor] = torch.randn(shape)
            parameter = "w2" if name == "down" else "w13"
            half = WIDTH * HIDDEN * (name == "up")
            offset = expert * SHAPES[parameter][1] * SHAPES[parameter][2] + half
            stride = contiguous_strides(shape)
            copies.append(Copy(parameter, offset, shape, stride, tensor, Region.whole(shape)))
    return tensors, copies


def staged(tensors: dict[str, torch.Tensor], copies: Sequence[Copy]) -> StagedTensors:
    """A version of these tensors in the memory of a worker that needs all of them."""
    blocks = manifest.plan(tensors)
    packed = manifest.allocate(manifest.total_bytes(blocks))
    blocks = manifest.pack(blocks, tensors.items(), packed)
    shard = Shard(rank=0, nbytes=packed.numel(), blocks=blocks)
    version = WeightVersion(
        stream="policy", version=1, attempt=1, stage="rl", step=1, shards=[shard]
    )
    recording = Recording(((nn.Identity(), tuple(copies)),))
    (read,) = reads_of(version, recording.needed())
    buffer = manifest.allocate(read.nbytes)
    for run in read.runs:
        buffer[run.local : run.local + run.nbytes] = packed[run.remote : run.remote + run.nbytes]
    return StagedTensors([read], {0: buffer})


def filled(found: Sequence[Write], shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    parameters = {name: torch.full(shape, torch.nan) for name, shape in shapes.items()}
    for one in found:
        target = parameters[one.parameter].as_strided(one.shape, one.stride, one.offset)
        target.copy_(one.source)
    return parameters


@pytest.mark.parametrize("order", [("gate", "up", "down"), ("down", "up", "gate")])
def test_all_experts_are_one_write_per_parameter(order: Sequence[str]) -> None:
    """Whatever the order in which the trainer holds them."""
    tensors, copies = of_experts(order)
    found = writes(copies, staged(tensors, copies).get)
    assert [one.parameter for one in found] == ["w13", "w2"]
    parameters = filled(found, SHAPES)
    for expert in range(EXPERTS):
        gate, up, down = (tensors[f"experts.{expert}.{name}"] for name in ("gate", "up", "down"))
        assert torch.equal(parameters["w13"][expert], torch.cat([gate, up]))
        assert torch.equal(parameters["w2"][expert], down)


ROWS = (4, 8)
APART = [
    ("a gap in the parameter", [(0, ROWS, (8, 1)), (64, ROWS, (8, 1))], (16, 8)),
    ("columns of a wider parameter", [(0, ROWS, (16, 1)), (8, ROWS, (16, 1))], (4, 16)),
    ("a transposed parameter", [(0, (8, 4), (1, 8)), (32, ROWS, (8, 1))], (8, 8)),
]


@pytest.mark.parametrize(("_", "places", "shape"), APART, ids=[row[0] for row in APART])
def test_what_is_not_adjacent_stays_apart(
    _: str,
    places: list[tuple[int, tuple[int, ...], tuple[int, ...]]],
    shape: tuple[int, ...],
) -> None:
    tensors = {name: torch.randn(ROWS) for name in "ab"}
    copies = [
        Copy("p", *place, name, Region.whole(ROWS))
        for name, place in zip(tensors, places, strict=True)
    ]
    found = writes(copies, staged(tensors, copies).get)
    assert len(found) == 2
    wanted = torch.full(shape, torch.nan)
    for tensor, (offset, size, stride) in zip(tensors.values(), places, strict=True):
        wanted.as_strided(size, stride, offset).copy_(tensor.reshape(size))
    assert torch.equal(filled(found, {"p": shape})["p"].nan_to_num(), wanted.nan_to_num())


def test_neighbors_of_two_shards_stay_apart() -> None:
    """Their buffers are two allocations, even if these should follow each other."""
    one = torch.randn(2, *ROWS)
    pieces = {"a": one[0], "b": one[1].clone()}
    copies = [
        Copy("p", 32 * index, ROWS, (8, 1), name, Region.whole(ROWS))
        for index, name in enumerate(pieces)
    ]
    assert len(writes(copies, lambda name, _: pieces[name])) == 2
    pieces["b"] = one[1]
    (both,) = writes(copies, lambda name, _: pieces[name])
    assert torch.equal(both.source, one.flatten())
