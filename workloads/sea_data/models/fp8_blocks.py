"""FP8 weights in blocks: one scale per block of a matrix, next to it as `NAME_scale_inv`. Pure.

How Qwen3's and DeepSeek's FP8 folders are published: weights as F8_E4M3, and
`weight = fp8 * scale_inv[row // block rows, column // block columns]`
(https://github.com/deepseek-ai/DeepSeek-V3, inference/kernel.py, `weight_dequant`).
The trainer reads them that way, and `sea_runtime.fp8_weights` rewrites an engine's folder, so both
begin with the same numbers. Other forms of quantization are refused.
"""

from collections.abc import Iterator, Mapping
from typing import Any

SCALE = "_scale_inv"
"""Suffix of the name of a weight's scales."""
DTYPE = "F8_E4M3"
"""As a safetensors header writes it."""
Blocks = tuple[int, int]
"""Rows and columns of a block."""

_KNOWN = frozenset(
    {
        "quant_method",
        "weight_block_size",
        "fmt",
        # How an FP8 engine rounds activations; here they are computed in the job's precision.
        "activation_scheme",
        # How the publisher rounded scales, which are read as they are.
        "scale_fmt",
        # Which weights are FP8 is read from the files.
        "ignored_layers",
        "modules_to_not_convert",
        "dequantize",
    }
)
_INSTEAD = "name the folder with BF16 weights in model.source"


def of_config(config: Mapping[str, Any]) -> Blocks | None:
    """The blocks of a configuration without `problems`; None if its weights aren't quantized."""
    given = config.get("quantization_config")
    return (given["weight_block_size"][0], given["weight_block_size"][1]) if given else None


def is_in_blocks(config: Mapping[str, Any]) -> bool:
    """True for a folder of FP8 blocks that can be dequantized."""
    given = config.get("quantization_config")
    return bool(given) and not any(problems(given))


def problems(given: Any) -> Iterator[str]:
    """Why a `quantization_config` can't be dequantized; each names the field."""
    if not given:
        return
    if not isinstance(given, Mapping):
        yield f"quantization_config is {given!r}, not an object: {_INSTEAD}"
        return
    method, size = given.get("quant_method"), given.get("weight_block_size")
    if method != "fp8" or given.get("fmt", "e4m3") != "e4m3":
        yield (
            f"quantization_config has quant_method {method!r} and fmt {given.get('fmt')!r}, which "
            f"the trainer doesn't dequantize: {_INSTEAD}"
        )
        return
    sizes = size if isinstance(size, list) else []
    if len(sizes) != 2 or not all(type(one) is int and one > 0 for one in sizes):
        yield (
            f"quantization_config has weight_block_size {size!r}, and only FP8 with one scale per "
            f"block of rows and columns is dequantized: {_INSTEAD}"
        )
    if unknown := sorted(given.keys() - _KNOWN):
        yield (
            f"quantization_config has the field {unknown[0]}, of which the trainer doesn't know "
            f"what it changes: {_INSTEAD}"
        )


def grid(shape: tuple[int, ...], blocks: Blocks) -> tuple[int, ...]:
    """Shape of a matrix's scales: blocks at its ends may be smaller."""
    return tuple(-(-size // block) for size, block in zip(shape, blocks, strict=True))
