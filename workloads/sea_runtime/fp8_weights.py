"""FP8 weights in blocks -> the numbers that they stand for (`sea_data.models.fp8_blocks`).

The trainer dequantizes what a rank reads (`trainer/hf_weights.py`); an engine's folder is rewritten
before vLLM starts (`rollout/base_model.py`), because vLLM would compute with FP8 weights, and could
take no weight version into them. Both call `dequantized`, so both begin with the same bits.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from sea_data.models import exported, fp8_blocks, weight_files
from sea_data.models.fp8_blocks import SCALE, Blocks

log = logging.getLogger(__name__)
MAX_FILE_BYTES = 1 << 30
"""Largest rewritten file; about as much is held in memory."""


def dequantized(
    weight: Tensor, scales: Tensor, blocks: Blocks, index: tuple[slice, ...] | None = None
) -> Tensor:
    """weight * the scale of each element's block, [rows, columns] in FP32.

    Exact: FP8 and BF16 have 4 and 8 significant bits, a product of both fits FP32.

    Args:
        weight: F8_E4M3, or the part `index` of it.
        scales: of the whole weight, [row blocks, column blocks], any float type.
        index: rows and columns of the part; None for the whole.
    """
    grown = scales.float()
    for axis, (size, block) in enumerate(zip(weight.shape, blocks, strict=True)):
        first = (index[axis].start or 0) if index else 0
        places = torch.arange(first, first + size) // block
        grown = grown.index_select(axis, places)
    return weight.float() * grown


def dequantize_folder(folder: Path, dtype: torch.dtype) -> None:
    """Rewrites an FP8 folder in place: weights in `dtype`, config.json without quantization.

    A folder without weights gets the configuration only. Interrupted, it leaves neither folder.
    """
    config = folder / "config.json"
    text = config.read_text()
    blocks = fp8_blocks.of_config(json.loads(text))
    assert blocks is not None, "only a quantized folder is rewritten"
    if any(folder.glob("*.safetensors")):
        _rewrite(folder, blocks, dtype)
    config.write_text(exported.configuration(text, str(dtype).removeprefix("torch.")))


def _rewrite(folder: Path, blocks: Blocks, dtype: torch.dtype) -> None:
    found = weight_files.read(weight_files.on_disk(folder))
    # All scales first: those of a weight may be in a file that is rewritten before it.
    scales = {
        name: tensor
        for file in sorted({one.file for one in found.values()})
        for name, tensor in _scales(folder / file)
    }
    index: dict[str, str] = {}
    for file in sorted({one.file for one in found.values()}):
        weights = _plain(folder / file, scales, blocks, dtype)
        for part in _in_parts(weights):
            name = f"dequantized-{len(set(index.values())) + 1:05d}.safetensors"
            save_file(part, folder / name, metadata={"format": "pt"})
            index |= dict.fromkeys(part, name)
        (folder / file).unlink()
    (folder / weight_files.INDEX).write_text(json.dumps({"weight_map": index}))
    log.info("dequantized %d FP8 weights of %s", len(scales), folder)


def _scales(file: Path) -> Iterator[tuple[str, Tensor]]:
    with safe_open(file, "pt") as opened:
        for name in opened.keys():  # noqa: SIM118 - not a mapping
            if name.endswith(SCALE):
                yield name, opened.get_tensor(name)


def _plain(
    file: Path, scales: Mapping[str, Tensor], blocks: Blocks, dtype: torch.dtype
) -> Iterator[tuple[str, Tensor]]:
    """The file's tensors without scales, in `dtype`."""
    with safe_open(file, "pt") as opened:
        for name in opened.keys():  # noqa: SIM118 - not a mapping
            if name in scales:
                continue
            tensor = opened.get_tensor(name)
            if name + SCALE in scales:
                tensor = dequantized(tensor, scales[name + SCALE], blocks)
            yield name, tensor.to(dtype)


def _in_parts(tensors: Iterator[tuple[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
    part: dict[str, Tensor] = {}
    for name, tensor in tensors:
        part[name] = tensor
        if sum(one.nbytes for one in part.values()) >= MAX_FILE_BYTES:
            yield part
            part = {}
    if part:
        yield part
