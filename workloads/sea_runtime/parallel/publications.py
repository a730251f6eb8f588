"""Which rank publishes which Hugging Face tensor of a layout, gathered from which ranks. Pure.

From `weight_map.py`: a tensor whose parts are on several ranks is gathered on one of them, and the
bytes are spread evenly. Read by `trainer/publisher.py`, `trainer/export.py` and the planner.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import prod

from sea_runtime.parallel.hf_config import ModelShape
from sea_runtime.parallel.parallel_layout import ParallelLayout, Place
from sea_runtime.parallel.weight_map import Block, blocks_by_parameter, tensor_shapes


@dataclass(frozen=True)
class Publication:
    """Whole Hugging Face tensors that one rank publishes, made of one parameter.

    The ranks of `holders` hold its parts; the publisher, one of them, gathers them.
    """

    publisher: int
    holders: tuple[int, ...]
    """In the order of their process group: a tensor- or expert-tensor-parallel one."""
    parameter: str
    """The same name on every holder."""
    tensors: tuple[str, ...]
    expert: bool


@lru_cache(maxsize=4)
def of_layout(shape: ModelShape, layout: ParallelLayout) -> tuple[Publication, ...]:
    """Who publishes what: every tensor from exactly one rank, bytes spread evenly over the ranks.

    In one order on all ranks: the gathers of a group are collectives.
    """
    found: list[Publication] = []
    sizes = {name: prod(one) for name, one in tensor_shapes(shape).items()}
    for stage in range(layout.pipeline):
        found += _of_stage(shape, layout, stage, sizes)
    return tuple(found)


def names_by_rank(shape: ModelShape, layout: ParallelLayout) -> dict[int, list[str]]:
    """Names of the tensors that each rank publishes, in its order, but for ranks without any."""
    found: dict[int, list[str]] = {}
    for one in of_layout(shape, layout):
        found.setdefault(one.publisher, []).extend(one.tensors)
    return dict(sorted(found.items()))


def _of_stage(
    shape: ModelShape, layout: ParallelLayout, stage: int, sizes: dict[str, int]
) -> Iterator[Publication]:
    first = stage * layout.stage_ranks
    ranks = [layout.place(first + within) for within in range(layout.stage_ranks)]
    load = {place.rank: 0 for place in ranks}
    units = [*_expert_units(shape, ranks), *_dense_units(shape, ranks)]
    nbytes = {id(unit): sum(sizes[name] for name in unit.tensors) for unit in units}
    # Those without a choice first, then the largest: what comes later evens the load out.
    units.sort(key=lambda unit: (len(unit.candidates) > 1, -nbytes[id(unit)]))
    for unit in units:
        publisher = min(unit.candidates, key=lambda rank: (load[rank], rank))
        load[publisher] += nbytes[id(unit)]
        group = publisher // unit.ways * unit.ways
        holders = tuple(range(group, group + unit.ways))
        yield Publication(publisher, holders, unit.parameter, unit.tensors, unit.expert)


@dataclass(frozen=True)
class _Unit:
    """A parameter that is published as a whole."""

    candidates: list[int]
    """Ranks that hold a part of it."""
    ways: int
    """Neighboring ranks whose parts make up the whole; 1 if each rank holds all of it."""
    parameter: str
    tensors: tuple[str, ...]
    expert: bool


def _expert_units(shape: ModelShape, ranks: list[Place]) -> Iterator[_Unit]:
    layout = ranks[0].layout
    for expert_rank in range(layout.expert if shape.experts else 0):
        holding = [place for place in ranks if place.expert_rank == expert_rank]
        candidates = [place.rank for place in holding]
        for parameter, found in blocks_by_parameter(shape, holding[0]).items():
            if found[0].expert:
                names = _names(found)
                yield _Unit(candidates, layout.expert_tensor, parameter, names, expert=True)


def _dense_units(shape: ModelShape, ranks: list[Place]) -> Iterator[_Unit]:
    candidates = [place.rank for place in ranks]
    ways = ranks[0].layout.tensor
    # All tensor ranks: with fewer KV groups than ranks, one alone may hold no key or value.
    held = [blocks_by_parameter(shape, place, experts=False) for place in ranks[:ways]]
    for parameter, first in held[0].items():
        # The tied copy of the last stage is published by the first.
        copied = parameter == "output_layer.weight" and shape.tied
        if copied:
            continue
        alike = all(one.get(parameter) == first for one in held)
        everything = first if alike else [b for one in held for b in one.get(parameter, [])]
        yield _Unit(candidates, 1 if alike else ways, parameter, _names(everything), expert=False)


def _names(found: Iterable[Block]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(block.tensor for block in found))
