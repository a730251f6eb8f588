"""The tiny model's folder: made without torch, deterministic, and loaded by transformers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from sea_data.tiny_model import model_folder
from sea_env.tokens.renderer import Renderer

TEXTS = ["Cancel order A7.", "system\n", "user\n", "assistant\n", '{"name":"get_order"}'] * 4
MESSAGES: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Cancel order A7."},
    {"role": "assistant", "content": "", "tool_calls": [{"name": "f", "arguments": {"o": "é7"}}]},
    {"role": "tool", "content": '{"status":"pending"}'},
    {"role": "tool", "content": "x"},
    {"role": "assistant", "content": "Done."},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tiny")
    model_folder.build(TEXTS, out, context_length=512, seed=1)
    return out


def test_same_arguments_same_bytes(folder: Path, tmp_path: Path) -> None:
    model_folder.build(TEXTS, tmp_path, context_length=512, seed=1)
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def test_weights_are_scaled_normals(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    expert = tensors["model.layers.3.mlp.experts.7.down_proj.weight"]
    assert expert.shape == (192, 128)
    assert np.std(expert) == pytest.approx(0.05, rel=0.03)
    assert np.all(tensors["model.norm.weight"] == 1)
    config = json.loads((folder / "config.json").read_text())
    assert tensors["model.embed_tokens.weight"].shape == (config["vocab_size"], 192)


def test_digits_and_names_are_single_tokens(folder: Path) -> None:
    renderer = Renderer.load(folder)
    assert renderer.count("A7") == 2
    assert renderer.count("user\n") == 1


@pytest.mark.component
def test_transformers_loads_and_renders_alike(folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert 2_500_000 < sum(p.numel() for p in model.parameters()) < 3_500_000
    tensors = load_file(folder / "model.safetensors")
    loaded = model.state_dict()["model.layers.0.self_attn.q_proj.weight"].numpy()
    assert np.array_equal(loaded, tensors["model.layers.0.self_attn.q_proj.weight"])
    fused = model.state_dict()["model.layers.0.mlp.experts.down_proj"][3].numpy()
    assert np.array_equal(fused, tensors["model.layers.0.mlp.experts.3.down_proj.weight"])
    ids, _ = Renderer.load(folder).dialogue(MESSAGES)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert list(tokenizer.apply_chat_template(MESSAGES, return_dict=False)) == ids
    with torch.no_grad():
        assert torch.isfinite(model(torch.tensor([ids])).logits).all()
