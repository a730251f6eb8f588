"""Which quantized folders can be dequantized, and which tensors they must have."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from sea_data.models import config_fields, fp8_blocks, weight_files
from sea_data.models import shape as shapes

FP8: dict[str, Any] = {
    "activation_scheme": "dynamic",
    "fmt": "e4m3",
    "quant_method": "fp8",
    "weight_block_size": [128, 128],
    "modules_to_not_convert": ["lm_head", "model.layers.0.mlp.gate"],
}
"""As Qwen3-235B-A22B-Instruct-2507-FP8 is published."""
NAME = "model.layers.0.mlp.up_proj.weight"


def test_blocks_of_a_published_configuration(configs: Mapping[str, dict[str, Any]]) -> None:
    given = {**configs["moe"], "quantization_config": FP8}
    assert list(config_fields.problems(given)) == []
    assert shapes.of_config(given).fp8_blocks == (128, 128)
    assert fp8_blocks.is_in_blocks(given)
    assert not fp8_blocks.is_in_blocks(configs["moe"])


@pytest.mark.parametrize(
    "change",
    [
        {"quant_method": "awq"},
        {"quant_method": "compressed-tensors"},
        {"quant_method": "fbgemm_fp8"},
        {"quant_method": None},
        {"fmt": "e5m2"},
        {"weight_block_size": None},
        {"weight_block_size": [128]},
        {"weight_block_size": [128, 0]},
        {"weight_block_size": [True, 128]},
        {"kv_cache_scheme": "fp8"},
    ],
)
def test_others_are_refused_with_what_to_do(
    configs: Mapping[str, dict[str, Any]], change: dict[str, Any]
) -> None:
    given = {**configs["qwen3"], "quantization_config": {**FP8, **change}}
    (found,) = config_fields.problems(given)
    assert "quantization_config" in found
    assert next(iter(change)) in found
    assert "BF16 weights in model.source" in found
    assert not fp8_blocks.is_in_blocks(given)


def test_scales_cover_the_ends_of_a_matrix() -> None:
    assert fp8_blocks.grid((256, 129), (128, 128)) == (2, 2)
    assert fp8_blocks.grid((1, 128), (128, 64)) == (1, 2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ""),
        ({NAME + "_scale_inv": None}, f"no tensor {NAME}_scale_inv"),
        ({NAME + "_scale_inv": ("F32", (2, 3))}, "_scale_inv in model.safetensors is [2, 3]"),
        ({NAME + "_scale_inv": ("F8_E4M3", (2, 2))}, "_scale_inv_scale_inv"),
        ({NAME: ("BF16", (6, 8))}, f"has the tensor {NAME}_scale_inv"),
        ({"model.norm.weight": ("F8_E4M3", (8,))}, "has model.norm.weight as F8_E4M3"),
        ({NAME: ("U8", (6, 8))}, "as U8"),
    ],
)
def test_every_fp8_weight_has_its_scales(
    configs: Mapping[str, dict[str, Any]],
    named: Callable[..., dict[str, tuple[str, tuple[int, ...]]]],
    write: Callable[..., Path],
    change: dict[str, Any],
    words: str,
) -> None:
    sizes = {"hidden_size": 8, "head_dim": 4, "num_attention_heads": 4, "num_key_value_heads": 2}
    sizes |= {"num_hidden_layers": 1, "intermediate_size": 6, "vocab_size": 11}
    block = {"quantization_config": {**FP8, "weight_block_size": [4, 4]}}
    shape = shapes.of_config({**configs["qwen3"], **sizes, **block})
    quantized = {NAME: ("F8_E4M3", (6, 8)), NAME + "_scale_inv": ("BF16", (2, 2))}
    tensors = {k: v for k, v in {**named(shape), **quantized, **change}.items() if v is not None}
    folder = write(tensors)
    found = " ".join(weight_files.problems(shape, weight_files.read(weight_files.on_disk(folder))))
    assert (words in found) if words else not found


def test_fp8_weights_without_a_configuration_are_refused(
    configs: Mapping[str, dict[str, Any]],
    named: Callable[..., dict[str, tuple[str, tuple[int, ...]]]],
    write: Callable[..., Path],
) -> None:
    shape = shapes.of_config({**configs["qwen3"], "num_hidden_layers": 1, "vocab_size": 11})
    folder = write(named(shape, "F8_E4M3"))
    found = list(weight_files.problems(shape, weight_files.read(weight_files.on_disk(folder))))
    assert "the folder is quantized" in found[0]
