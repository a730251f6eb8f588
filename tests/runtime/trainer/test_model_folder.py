"""Mistakes in a model's folder are sentences about the folder, never tracebacks."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sea_runtime.parallel import hf_config
from sea_runtime.parallel.hf_config import ModelError
from sea_runtime.trainer.hf_weights import SafetensorsFolder
from sea_testing.models import tiny_files


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "can't be read"),
        ('{"architectures": ["Qwen3ForCausalLM"]}', "lacks 'num_attention_heads'"),
        ('{"architectures": ["Qwen3ForCausalLM"], "num_attention_heads": "x"}', "heads 'x'"),
        ('{"architectures": ["Qwen3ForCausalLM"], "hidden_act": "gelu"}', "hidden_act is 'gelu'"),
    ],
)
def test_a_configuration_that_is_broken(text: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        hf_config.parse(text)


def test_a_folder_without_a_configuration(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no config\.json"):
        hf_config.load(tmp_path)


def test_files_that_do_not_belong_to_the_configuration(tmp_path: Path) -> None:
    """Named before a tensor is loaded: one too many would be left out in silence."""
    for name, body in tiny_files().items():
        (tmp_path / name).write_bytes(body)
    shape = hf_config.load(tmp_path)
    hf_config.check_files(shape, tmp_path)
    with pytest.raises(ModelError, match=r"has the tensor model\.layers\.3"):
        hf_config.check_files(replace(shape, layers=3), tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ModelError, match="Git LFS pointer"):
        hf_config.check_files(shape, tmp_path)


def test_a_folder_without_tensors(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has neither"):
        SafetensorsFolder(tmp_path)


def test_a_tensor_that_is_missing(tmp_path: Path) -> None:
    save_file({"a": torch.arange(3.0)}, tmp_path / "model.safetensors")
    tensors = SafetensorsFolder(tmp_path)
    assert tensors.read("a", (3,), (slice(1, 3),)).tolist() == [1.0, 2.0]
    with pytest.raises(ModelError, match="has no tensor b"):
        tensors.read("b", (3,), (slice(0, 3),))


def test_a_tensor_of_another_shape(tmp_path: Path) -> None:
    save_file({"a": torch.arange(3.0)}, tmp_path / "model.safetensors")
    with pytest.raises(
        ModelError, match=r"a has the shape \(3,\) where config.json implies \(4,\)"
    ):
        SafetensorsFolder(tmp_path).read("a", (4,), (slice(0, 2),))


@pytest.mark.parametrize("content", [None, b"no safetensors"])
def test_a_shard_that_is_missing_or_broken(tmp_path: Path, content: bytes | None) -> None:
    index = {"weight_map": {"a": "model-1.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    if content is not None:
        (tmp_path / "model-1.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=r"model-1\.safetensors can't be read"):
        SafetensorsFolder(tmp_path).read("a", (1,), (slice(0, 1),))


@pytest.mark.parametrize("text", ["{", "{}"])
def test_an_index_that_is_broken(tmp_path: Path, text: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(ModelError, match=r"index\.json can't be read"):
        SafetensorsFolder(tmp_path)
