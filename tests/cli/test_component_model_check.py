"""`sea model check` on a model that only the newest tables support: trainer and engine agree."""

import json
from pathlib import Path

import pytest

from sea_cli import main
from sea_testing.models import tiny_files

pytestmark = pytest.mark.component
TOLERANCE = 1e-5
"""In FP32, of one token's log-probability."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Qwen2 with biases and YaRN, as transformers saves it."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    files = tiny_files()
    rows = json.loads(files["config.json"])["vocab_size"]
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
    config = Qwen2Config(
        vocab_size=rows,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        rope_parameters={**yarn, "rope_theta": 1e4},
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    made = Qwen2ForCausalLM(config)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            parameter.normal_(std=0.2)
            if "norm" in name:
                parameter.add_(1.0)
    made.save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes(files[name])
    return tmp_path


def test_trainer_and_engine_compute_the_same(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["Hello, where is my order?", "my order is where? Hello, order."]
    options = [option for text in texts for option in ("--text", text)]
    options += ["--of", "trainer", "--of", "engine", "--tolerance", str(TOLERANCE), "--json"]
    assert main(["model", "check", str(folder), *options]) == 0, capsys.readouterr()
    (found,) = json.loads(capsys.readouterr().out)["differences"]
    assert 0.0 < found["largest"] < TOLERANCE
