"""Which safetensors files an export consists of, and which rank writes each. Pure.

Every rank computes the same list (`trainer/export.py` writes the files): names carry the number of
files, and the index names all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from sea_runtime.parallel import publications, weight_map
from sea_runtime.parallel.hf_config import ModelShape
from sea_runtime.parallel.parallel_layout import ParallelLayout


@dataclass(frozen=True)
class ExportShard:
    """One safetensors file, written by one rank."""

    rank: int
    turn: int
    """All ranks write their files of a turn together, and begin the next when all are stored."""
    sizes: dict[str, int]
    """Bytes of each tensor."""


def shards(
    shape: ModelShape, layout: ParallelLayout, itemsize: int, limit: int
) -> list[ExportShard]:
    """The files of an export, in order. Pure.

    Args:
        itemsize: bytes of a weight.
        limit: most bytes of a file; what is published together stays together.
    """
    found: dict[int, list[dict[str, int]]] = {}
    shapes = weight_map.tensor_shapes(shape)
    for one in publications.of_layout(shape, layout):
        sizes = {name: itemsize * prod(shapes[name]) for name in one.tensors}
        files = found.setdefault(one.publisher, [{}])
        if files[-1] and sum((files[-1] | sizes).values()) > limit:
            files.append({})
        files[-1] |= sizes
    return [
        ExportShard(rank, turn, sizes)
        for rank, files in sorted(found.items())
        for turn, sizes in enumerate(files)
    ]


def shard_name(number: int, count: int) -> str:
    """`number` from 1."""
    return f"model-{number:05d}-of-{count:05d}.safetensors"


def index(found: Sequence[ExportShard]) -> dict[str, Any]:
    """`model.safetensors.index.json` of the shards."""
    weights = {
        name: shard_name(number, len(found))
        for number, shard in enumerate(found, 1)
        for name in shard.sizes
    }
    total = sum(sum(shard.sizes.values()) for shard in found)
    return {"metadata": {"total_size": total}, "weight_map": dict(sorted(weights.items()))}
