"""FP8 folders: trainer and engine get the numbers that transformers gets, bit for bit."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sea_data.models import weight_files
from sea_runtime import fp8_weights
from sea_runtime.parallel import hf_config
from sea_runtime.rollout import base_model
from sea_runtime.trainer.hf_weights import SafetensorsFolder
from sea_testing import fp8
from sea_testing.models import tiny_files

BLOCK = (32, 16)
UP = "model.layers.0.mlp.experts.1.up_proj.weight"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The tiny model, whose experts and attention divide into blocks, quantized."""
    place = tmp_path / "model"
    place.mkdir()
    for name, body in tiny_files().items():
        (place / name).write_bytes(body)
    fp8.quantize_folder(place, BLOCK)
    return place


def test_a_rank_reads_its_part_as_transformers_dequantizes_it(folder: Path) -> None:
    shape = hf_config.load(folder)
    hf_config.check_files(shape, folder)
    wanted = fp8.by_transformers(folder)
    tensors = SafetensorsFolder(folder, shape.fp8_blocks)
    rng = random.Random(0)
    for name, whole in wanted.items():
        sizes = tuple(whole.shape)
        for _ in range(3):
            starts = [rng.randrange(size) for size in sizes]
            part = tuple(
                slice(at, rng.randint(at + 1, n)) for at, n in zip(starts, sizes, strict=True)
            )
            assert torch.equal(tensors.read(name, sizes, part).float(), whole[part]), (name, part)


def test_blocks_at_the_ends_of_a_matrix_may_be_smaller(tmp_path: Path) -> None:
    weight, scales = fp8.quantized(torch.randn(50, 40), (32, 16))
    save_file({"w": weight, "w_scale_inv": scales}, tmp_path / "model.safetensors")
    found = SafetensorsFolder(tmp_path, (32, 16)).read("w", (50, 40), (slice(20, 50), slice(8, 40)))
    rows, columns = torch.arange(20, 50) // 32, torch.arange(8, 40) // 16
    assert torch.equal(found, weight.float()[20:, 8:] * scales.float()[rows][:, columns])


def fetched(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Path:
    """The engine's folder; the store's download is a copy of the files that it needs."""

    def download(_store: Any, _url: str, target: Path, leave_out: Any) -> None:
        for file in folder.iterdir():
            if not leave_out(file.name):
                (target / file.name).write_bytes(file.read_bytes())

    monkeypatch.setattr(base_model, "download_folder", download)
    store: Any = None
    return base_model.fetch(store, "s3://b/m", tmp_path / "engine", **options)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_engine_loads_what_the_trainer_begins_with(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    monkeypatch.setattr(fp8_weights, "MAX_FILE_BYTES", 1 << 20)  # several files of the one
    target = fetched(folder, tmp_path, monkeypatch, dequantize_to=dtype)
    config = json.loads((target / "config.json").read_text())
    assert "quantization_config" not in config
    assert config["torch_dtype"] == dtype
    shape = hf_config.load(target)
    hf_config.check_files(shape, target)
    files = sorted({one.file for one in weight_files.read(weight_files.on_disk(target)).values()})
    assert len(files) > 1
    found = {k: v for file in files for k, v in load_file(target / file).items()}
    wanted = fp8.by_transformers(folder)
    assert found.keys() == wanted.keys()
    for name, tensor in found.items():
        assert torch.equal(tensor, wanted[name].to(getattr(torch, dtype))), name


def test_an_engine_without_weights_gets_the_configuration(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = fetched(folder, tmp_path, monkeypatch, dequantize_to="bfloat16", weights=False)
    assert "quantization_config" not in json.loads((target / "config.json").read_text())
    assert not list(target.glob("*.safetensors*"))


def test_a_model_that_no_stage_trains_is_served_as_it_is(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = fetched(folder, tmp_path, monkeypatch)
    assert (target / "config.json").read_bytes() == (folder / "config.json").read_bytes()
    # Trained from then on (an edit added a stage), it is fetched again and dequantized.
    again = fetched(folder, tmp_path, monkeypatch, dequantize_to="bfloat16")
    assert "quantization_config" not in json.loads((again / "config.json").read_text())


def test_other_folders_stay_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    for name, body in tiny_files().items():
        (plain / name).write_bytes(body)
    target = fetched(plain, tmp_path, monkeypatch, dequantize_to="bfloat16")
    for file in plain.iterdir():
        assert (target / file.name).read_bytes() == file.read_bytes()
