"""What the ranks of a layout hold of a model whose every element has a number of its own."""

import functools
from collections.abc import Iterator

import numpy as np

from sea_runtime.parallel import weight_map
from sea_runtime.parallel.hf_config import ModelShape
from sea_runtime.parallel.parallel_layout import Place
from sea_runtime.trainer.checkpoint import reshard
from sea_runtime.trainer.checkpoint.index import ParameterRun
from sea_runtime.trainer.checkpoint.reshard import Wanted


@functools.cache
def runs_of(shape: ModelShape, place: Place) -> list[ParameterRun]:
    """As the distributed optimizer shares parameters out: runs that begin anywhere in a row."""
    found = []
    blocks = weight_map.blocks_by_parameter(shape, place)
    for name, size in weight_map.parameter_shapes(shape, place).items():
        expert = any(one.expert for one in blocks.get(name, []))
        layout = place.layout
        ways = layout.expert_data if expert else layout.data * layout.context
        rank = place.expert_data_rank if expert else place.data_rank
        elements = int(np.prod(size))
        start, stop = elements * rank // ways, elements * (rank + 1) // ways
        if start < stop:
            found.append(ParameterRun(parameter=name, start=start, stop=stop))
    return found


@functools.cache
def tensors(shape: ModelShape) -> dict[str, np.ndarray]:
    """The Hugging Face tensors."""
    found, first = {}, 1
    for name, size in weight_map.tensor_shapes(shape).items():
        count = int(np.prod(size))
        found[name] = np.arange(first, first + count, dtype=np.float32).reshape(size)
        first += count
    return found


@functools.cache
def _parameters(shape: ModelShape, place: Place) -> dict[str, np.ndarray]:
    """Whole parameters of a rank, flat; 0 where they are padded."""
    sizes = weight_map.parameter_shapes(shape, place)
    found = {name: np.zeros(size, np.float32) for name, size in sizes.items()}
    for block in weight_map.blocks(shape, place):
        found[block.parameter][block.target] = tensors(shape)[block.tensor][block.source]
    return {name: one.reshape(-1) for name, one in found.items()}


def held(shape: ModelShape, place: Place, run: ParameterRun) -> np.ndarray:
    """The elements of a run."""
    return _parameters(shape, place)[run.parameter][run.start : run.stop]


def section(shape: ModelShape, place: Place) -> np.ndarray:
    """What a rank saves of one kind."""
    return np.concatenate([held(shape, place, run) for run in runs_of(shape, place)])


def wanted_by(shape: ModelShape, place: Place) -> Iterator[Wanted]:
    """What a rank needs."""
    blocks = weight_map.blocks_by_parameter(shape, place)
    shapes = weight_map.parameter_shapes(shape, place)
    for run in runs_of(shape, place):
        size = shapes[run.parameter]
        columns = size[1] if len(size) > 1 else 1
        for tensor, part in reshard.held_by_run(run, blocks.get(run.parameter, []), columns, 0):
            yield Wanted(run.parameter, tensor, part)
