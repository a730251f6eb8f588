"""The safetensors files of a model folder, checked by their headers and sizes alone.

A header says which tensors a file has, with dtype, shape and place, so a folder of 470 GB is
checked by reading a few megabytes: by the coordinator through the object store, by the trainer on
its disk.
Format: https://github.com/huggingface/safetensors#format.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from sea_data import foreign_files, urls
from sea_data.errors import DataError
from sea_data.models import fp8_blocks, tensors
from sea_data.models.shape import ModelShape
from sea_data.object_store import ObjectStore

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
_MAX_HEADER_BYTES = 100_000_000
"""The library's own limit."""
_THREADS = 16
_SHOWN = 3
_FLOATS = ("F64", "F32", "F16", "BF16")
"""Types that can be trained from; others are quantized, of which FP8 in blocks is dequantized."""
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, fp8_blocks.DTYPE: 1}


class WeightFileError(DataError, ValueError):
    """A folder whose weights can't be used; the message names the file and what to do."""


@dataclass(frozen=True)
class Files:
    """A folder's files, wherever they are stored.

    Attributes:
        place: the folder's address, for messages.
        size: bytes of a file, or None if there is none.
        read: (name, start, length) -> bytes.
    """

    place: str
    size: Callable[[str], int | None]
    read: Callable[[str, int, int], bytes]


def on_disk(folder: Path) -> Files:
    def size(name: str) -> int | None:
        path = folder / name
        return path.stat().st_size if path.is_file() else None

    def read(name: str, start: int, length: int) -> bytes:
        with (folder / name).open("rb") as file:
            file.seek(start)
            return file.read(length)

    return Files(str(folder), size, read)


def in_store(store: ObjectStore, url: str) -> Files:
    """Raises StoreError when it is asked, if the store can't answer."""
    return Files(
        url,
        lambda name: store.size(urls.join(url, name)),
        lambda name, start, length: store.read_range(urls.join(url, name), start, length),
    )


@dataclass(frozen=True)
class Tensor:
    """One tensor of a file."""

    file: str
    dtype: str
    """As the header writes it: F32, BF16, F8_E4M3, ..."""
    shape: tuple[int, ...]
    begin: int
    """Of its bytes, in the file."""
    size: int
    """In bytes."""


def lfs_sentence(name: str) -> str:
    return (
        f"{name} is a Git LFS pointer, not the file itself: run `git lfs pull` in the model's "
        "folder and upload it again"
    )


def read(files: Files) -> dict[str, Tensor]:
    """All tensors of the folder by name.

    Raises:
        WeightFileError: a file is missing, cut short, a pointer, or not what the index says.
    """
    index = _index(files)
    names = sorted(set(index.values())) if index is not None else [SINGLE]
    if index is None and files.size(SINGLE) is None:
        raise WeightFileError(
            f"The model folder {files.place} has neither {SINGLE} nor {INDEX}: point model.source "
            "to a Hugging Face folder with safetensors."
        )
    with ThreadPoolExecutor(_THREADS) as pool:
        headers = list(pool.map(lambda name: _header(files, name), names))
    found: dict[str, Tensor] = {}
    for header in headers:
        for name, tensor in header.items():
            if name in found:
                raise WeightFileError(
                    f"{tensor.file} and {found[name].file} both have the tensor {name}: remove the "
                    "file that doesn't belong to the model."
                )
            found[name] = tensor
    if index is not None:
        _compare(index, found)
    return found


def _index(files: Files) -> dict[str, str] | None:
    """File by tensor name; None for a folder with one file."""
    size = files.size(INDEX)
    if size is None:
        return None
    body = files.read(INDEX, 0, size)
    if foreign_files.is_lfs_pointer(body):
        raise WeightFileError(f"The model's {lfs_sentence(INDEX)}.")
    try:
        index = dict(json.loads(body)["weight_map"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise WeightFileError(
            f"The model's {INDEX} can't be read ({error!r}): upload it again."
        ) from error
    for file in set(index.values()):
        if not isinstance(file, str) or "/" in file or ".." in file:
            raise WeightFileError(
                f"The model's {INDEX} names the file {file!r}: it must be a name."
            )
    # transformers would read the single file, vLLM and the trainer what the index names.
    if SINGLE not in index.values() and files.size(SINGLE) is not None:
        raise WeightFileError(
            f"The model folder has {SINGLE} and an index that names other files: remove the one "
            "that is out of date."
        )
    return index


def _header(files: Files, name: str) -> dict[str, Tensor]:
    size = files.size(name)
    if size is None:
        raise WeightFileError(
            f"The model's {name} is missing, but {INDEX} names it: upload it, or download the "
            "model again."
        )
    begin = files.read(name, 0, min(size, 64))
    if foreign_files.is_lfs_pointer(begin):
        raise WeightFileError(f"The model's {lfs_sentence(name)}.")
    length = int.from_bytes(begin[:8], "little")
    if size < 8 or length > min(size - 8, _MAX_HEADER_BYTES):
        raise WeightFileError(
            f"The model's {name} can't be read: its {size} bytes aren't safetensors, or are cut "
            "short within the header. Upload it again."
        )
    try:
        header = json.loads(files.read(name, 8, length))
        header.pop("__metadata__", None)
        found = {key: _tensor(name, value, 8 + length) for key, value in header.items()}
        end = _end(found.values(), 8 + length) - 8 - length
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise WeightFileError(
            f"The model's {name} can't be read: its header is no safetensors header ({error!r}). "
            "Upload it again."
        ) from error
    if size != 8 + length + end:
        raise WeightFileError(
            f"The model's {name} has {size} bytes where its header promises {8 + length + end}: "
            "the file was cut short or changed. Upload it again."
        )
    return found


def _tensor(file: str, value: Mapping[str, Any], data: int) -> Tensor:
    """`data`: where the bytes begin that the header's offsets count from."""
    shape = tuple(int(size) for size in value["shape"])
    begin, end = value["data_offsets"]
    dtype = str(value["dtype"])
    if dtype in _BYTES and end - begin != prod(shape) * _BYTES[dtype]:
        raise ValueError(f"{end - begin} bytes for {dtype} {list(shape)}")
    return Tensor(file, dtype, shape, data + int(begin), int(end) - int(begin))


def _end(found: Iterable[Tensor], begin: int) -> int:
    """Where the last tensor ends. The library refuses tensors that overlap or leave a hole."""
    for tensor in sorted(found, key=lambda one: (one.begin, one.size)):
        if tensor.begin != begin or tensor.size < 0:
            raise ValueError("its tensors overlap, or bytes between them belong to none")
        begin += tensor.size
    return begin


def _compare(index: Mapping[str, str], found: Mapping[str, Tensor]) -> None:
    missing = sorted(name for name in index if name not in found)
    if missing:
        raise WeightFileError(
            f"{INDEX} says that {index[missing[0]]} has the tensor {missing[0]}, but it has not"
            f"{_and_more(missing)}: upload both again."
        )
    extra = sorted(name for name in found if index.get(name) != found[name].file)
    if extra:
        raise WeightFileError(
            f"{found[extra[0]].file} has the tensor {extra[0]}, which {INDEX} doesn't have there"
            f"{_and_more(extra)}: upload both again."
        )


def problems(shape: ModelShape, found: Mapping[str, Tensor]) -> Iterator[str]:
    """What the folder's tensors lack or have too many for this configuration.

    Each names the first tensor and file; nothing if every tensor is taken by a parameter and every
    parameter gets one.
    """
    scales = dict(_scales(shape, found))
    quantized = sorted(n for n, t in found.items() if t.dtype not in _FLOATS and n not in scales)
    if quantized:
        name = quantized[0]
        yield (
            f"{found[name].file} has {name} as {found[name].dtype}{_and_more(quantized)}: the "
            "folder is quantized, so name the one with BF16 weights in model.source"
        )
        return
    fused = sorted(name for name in found if name.endswith(".mlp.experts.gate_up_proj"))
    if fused:
        yield (
            f"{found[fused[0]].file} has {fused[0]}, all experts of a layer in one tensor, where "
            "Qwen3-MoE has a tensor for each: save the model again with transformers' "
            "save_pretrained as it is, without save_original_format=False"
        )
        return
    # Of a quantized weight the scales are as necessary as the weight itself.
    wanted = dict(tensors.expected(shape)) | {n + fp8_blocks.SCALE: s for n, s in scales.items()}
    missing = [name for name in wanted if name not in found]
    if missing:
        yield (
            f"the model folder has no tensor {missing[0]}, which its config.json implies"
            f"{_and_more(missing)}"
        )
    extra = sorted(
        name for name in found if name not in wanted and not tensors.means_nothing(name, shape)
    )
    if extra:
        yield (
            f"{found[extra[0]].file} has the tensor {extra[0]}, of which its config.json says "
            f"nothing{_and_more(extra)}: the model would be trained without it"
        )
    for name, sizes in wanted.items():
        if name in found and found[name].shape != sizes:
            yield (
                f"{name} in {found[name].file} is {list(found[name].shape)} where config.json "
                f"implies {list(sizes)}: config.json and safetensors don't belong together"
            )
            return


def _scales(
    shape: ModelShape, found: Mapping[str, Tensor]
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every FP8 matrix of a folder with `quantization_config`, and the shape that its scales must
    have."""
    if shape.fp8_blocks is None:
        return
    for name, tensor in found.items():
        if tensor.dtype == fp8_blocks.DTYPE and len(tensor.shape) == len(shape.fp8_blocks):
            yield name, fp8_blocks.grid(tensor.shape, shape.fp8_blocks)


def _and_more(names: Sequence[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""
