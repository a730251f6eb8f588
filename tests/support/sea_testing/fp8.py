"""A model folder, quantized as Qwen publishes its FP8 models."""

import json
import re
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

_QUANTIZED = re.compile(r"_proj\.weight$")
"""The linear layers; embedding, head, norms and routers keep their type."""


def quantized(weight: Tensor, block: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """(FP8 weight, BF16 scales): the largest of each block becomes FP8's largest number."""
    rows, columns = (-(-size // of) for size, of in zip(weight.shape, block, strict=True))
    scales = torch.empty(rows, columns)
    result = torch.empty(weight.shape, dtype=torch.float8_e4m3fn)
    for row in range(rows):
        for column in range(columns):
            place = (
                slice(row * block[0], (row + 1) * block[0]),
                slice(column * block[1], (column + 1) * block[1]),
            )
            part = weight[place].float()
            scale = (part.abs().max() / torch.finfo(torch.float8_e4m3fn).max).bfloat16().float()
            scales[row, column] = scale
            result[place] = (part / scale).clamp(-448, 448).to(torch.float8_e4m3fn)
    return result, scales.bfloat16()


def quantize_folder(folder: Path, block: tuple[int, int]) -> None:
    """Rewrites `model.safetensors` and config.json."""
    tensors = load_file(folder / "model.safetensors")
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if _QUANTIZED.search(name):
            found[name], found[f"{name}_scale_inv"] = quantized(tensor, block)
        else:
            found[name] = tensor
    save_file(found, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {
        "activation_scheme": "dynamic",
        "fmt": "e4m3",
        "quant_method": "fp8",
        "weight_block_size": list(block),
        "modules_to_not_convert": ["lm_head"],
    }
    (folder / "config.json").write_text(json.dumps(config))


def by_transformers(folder: Path) -> dict[str, Tensor]:
    """The folder's weights in FP32 as transformers dequantizes them, by its own code.

    Its whole loader needs accelerate.
    """
    from transformers.integrations.finegrained_fp8 import Fp8Dequantize

    dequantize = Fp8Dequantize(None)._dequantize_one
    tensors = load_file(folder / "model.safetensors")
    scales = {name: tensors.pop(name) for name in list(tensors) if name.endswith("_scale_inv")}
    return {
        name: dequantize(tensor, scales[f"{name}_scale_inv"], torch.float32)
        if f"{name}_scale_inv" in scales
        else tensor.float()
        for name, tensor in tensors.items()
    }
