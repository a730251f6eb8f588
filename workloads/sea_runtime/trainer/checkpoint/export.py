"""Any checkpoint as a Hugging Face folder, by one process without GPU, torch or Megatron.

Reads the main parameters alone, a third of the checkpoint, file by file of the export: the weights
of one file are in memory at a time. Rounds them as the trainer does.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import TensorSpec, serialize_file

from sea_runtime.parallel import weight_map
from sea_runtime.parallel.export_files import ExportShard, shard_name
from sea_runtime.parallel.export_files import index as index_of
from sea_runtime.parallel.hf_config import ModelShape
from sea_runtime.parallel.regions import Region
from sea_runtime.trainer.checkpoint.index import WEIGHTS
from sea_runtime.trainer.checkpoint.reader import CheckpointReader
from sea_runtime.trainer.checkpoint.reshard import Copy, Held, Wanted

SHARD_BYTES = 2 << 30
"""Bytes of weights per file."""
TYPES = {"FP32": ("float32", np.float32), "BF16": ("bfloat16", np.uint16)}
"""By `model.precision`: safetensors' name, and the type that holds the bits."""


@dataclass(frozen=True)
class Exported:
    """A file of the export that has been written."""

    file: Path
    number: int
    count: int


def files(shape: ModelShape, precision: str, limit: int = SHARD_BYTES) -> list[ExportShard]:
    """The files of an export, in the order of the model's layers."""
    width = np.dtype(TYPES[precision][1]).itemsize
    found: list[dict[str, int]] = [{}]
    for name, size in weight_map.tensor_shapes(shape).items():
        nbytes = width * prod(size)
        if found[-1] and sum(found[-1].values()) + nbytes > limit:
            found.append({})
        found[-1][name] = nbytes
    return [ExportShard(0, turn, sizes) for turn, sizes in enumerate(found)]


def write(
    reader: CheckpointReader,
    shape: ModelShape,
    precision: str,
    folder: Path,
    limit: int = SHARD_BYTES,
) -> Iterator[Exported]:
    """Writes the files one after another; the caller may move each away before the next.

    Raises:
        CheckpointError: the checkpoint is damaged, or of another model.
        StoreError: it can't be read.
    """
    shards = files(shape, precision, limit)
    for number, shard in enumerate(shards, start=1):
        file = folder / shard_name(number, len(shards))
        _write(reader, shape, precision, list(shard.sizes), file)
        yield Exported(file, number, len(shards))


def index(shape: ModelShape, precision: str, limit: int = SHARD_BYTES) -> dict[str, Any]:
    """`model.safetensors.index.json`."""
    return index_of(files(shape, precision, limit))


def _write(
    reader: CheckpointReader, shape: ModelShape, precision: str, names: list[str], file: Path
) -> None:
    dtype, bits = TYPES[precision]
    sizes = weight_map.tensor_shapes(shape)
    memory = {name: np.empty(prod(sizes[name]), bits) for name in names}
    wanted = [Wanted(name, name, _whole(sizes[name])) for name in names]
    reader.read(wanted, WEIGHTS, _put(memory))
    # By address: `memory` holds the arrays until the file is written.
    specs = {
        name: TensorSpec(
            dtype=dtype,
            shape=list(sizes[name]),
            data_ptr=whole.ctypes.data,
            data_len=whole.nbytes,
        )
        for name, whole in memory.items()
    }
    serialize_file(specs, str(file), {"format": "pt"})


def _whole(size: tuple[int, ...]) -> Held:
    columns = size[1] if len(size) > 1 else 1
    return Held(Region((0, 0), (size[0], columns)), 0, columns)


def _put(memory: dict[str, np.ndarray]) -> Callable[[Copy, str, np.ndarray], None]:
    def put(copy: Copy, _: str, values: np.ndarray) -> None:
        whole = memory[copy.target][copy.target_offset :]
        there = np.lib.stride_tricks.as_strided(
            whole,
            (copy.rows, copy.columns),
            (copy.target_stride * whole.itemsize, whole.itemsize),
        )
        there[:] = rounded(values) if whole.dtype == np.uint16 else values

    return put


def rounded(values: np.ndarray) -> np.ndarray:
    """The bits of float32 values rounded to bfloat16, ties to even, as torch does it."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)
