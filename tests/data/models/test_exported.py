"""An exported configuration means the same to transformers 4.51, transformers 5 and vLLM."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from sea_data.models import exported
from sea_data.models import shape as shapes

Configs = Mapping[str, dict[str, Any]]
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}


def as_transformers_5(config: dict[str, Any]) -> dict[str, Any]:
    """How release 5 writes what release 4 wrote."""
    found = dict(config)
    scaling = found.pop("rope_scaling", None) or {"rope_type": "default"}
    found["rope_parameters"] = {**scaling, "rope_theta": found.pop("rope_theta")}
    found["dtype"] = found.pop("torch_dtype")
    if "num_experts" in found:
        found["num_local_experts"] = found.pop("num_experts")
    return found


def as_read_by_transformers_4(config: dict[str, Any]) -> dict[str, Any]:
    """What release 4.51 computes of: it knows no newer name."""
    found = {
        name: config.get(name) for name in ("torch_dtype", "rope_theta", "num_experts", "head_dim")
    }
    scaling = config.get("rope_scaling") or {}
    found["rope_type"] = scaling.get("rope_type", scaling.get("type", "default"))
    if "original_max_position_embeddings" in scaling:
        original = scaling["original_max_position_embeddings"]
        found["factor"] = config["max_position_embeddings"] / original
    return found


@pytest.mark.parametrize("release", [4, 5])
@pytest.mark.parametrize("scaling", [None, YARN])
@pytest.mark.parametrize("family", ["qwen2", "qwen3", "moe"])
def test_every_release_reads_the_same_model(
    configs: Configs, family: str, scaling: dict[str, Any] | None, release: int
) -> None:
    from transformers import Qwen2Config, Qwen3Config, Qwen3MoeConfig

    given = {**configs[family], "rope_scaling": scaling}
    given = as_transformers_5(given) if release == 5 else given
    written = json.loads(exported.configuration(json.dumps(given), "float32"))
    old = as_read_by_transformers_4(written)
    assert (old["torch_dtype"], old["rope_theta"]) == ("float32", 1e6)
    assert old["rope_type"] == ("yarn" if scaling else "default")
    assert not scaling or old["factor"] == 4.0
    assert old["num_experts"] == configs[family].get("num_experts")
    kind: Any = {"qwen2": Qwen2Config, "qwen3": Qwen3Config, "moe": Qwen3MoeConfig}[family]
    new = kind.from_dict(written)
    assert str(new.dtype).endswith("float32")
    assert new.rope_parameters["rope_theta"] == 1e6
    assert new.rope_parameters.get("factor") == (4.0 if scaling else None)
    # The shape is the initial model's, and an export can be trained again.
    assert shapes.of_config(written) == shapes.of_config(given)


def test_an_export_of_an_export_changes_nothing(configs: Configs) -> None:
    once = exported.configuration(json.dumps({**configs["moe"], "rope_scaling": YARN}), "bfloat16")
    assert exported.configuration(once, "bfloat16") == once


def test_the_exported_weights_are_not_quantized(configs: Configs) -> None:
    given = {**configs["qwen3"], "quantization_config": {"quant_method": "fp8"}}
    assert "fp8" not in exported.configuration(json.dumps(given), "bfloat16")


@pytest.mark.parametrize(
    ("name", "copied"),
    [
        ("tokenizer.json", True),
        ("tokenizer_config.json", True),
        ("chat_template.jinja", True),
        ("generation_config.json", True),
        ("vocab.json", True),
        ("LICENSE", True),
        ("model-00001-of-00002.safetensors", False),
        ("model.safetensors.index.json", False),
        ("pytorch_model.bin", False),
        ("pytorch_model.bin.index.json", False),
        ("consolidated.00.pth", False),
        ("model-q4.gguf", False),
        ("adapter_config.json", False),
        ("READY.json", False),
    ],
)
def test_old_weights_are_left_behind(name: str, copied: bool) -> None:
    assert exported.is_copied(name) is copied


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"eos_token_id": [151645, 151643], "top_k": 20}, None),
        ({"eos_token_id": 151645}, None),
        ({"eos_token_id": 151643, "max_new_tokens": 2048}, [151645, 151643]),
        ({"eos_token_id": None}, [151645]),
        ({}, [151645]),
        ([], [151645]),
        ("{", [151645]),
    ],
)
def test_an_answer_ends_with_its_turn(given: Any, wanted: list[int] | None) -> None:
    """Base models name the end of a document alone: the served export wrote the customer's turn."""
    text = given if isinstance(given, str) else json.dumps(given)
    found = exported.generation(text, 151645)
    if wanted is None:
        assert found is None, "byte by byte the initial model's"
    else:
        assert found is not None
        kept = given if isinstance(given, dict) else {}
        assert json.loads(found) == {**kept, "eos_token_id": wanted}


def test_a_folder_without_generation_settings_gets_them_if_its_configuration_says_otherwise() -> (
    None
):
    config = json.dumps({"eos_token_id": 7, "hidden_size": 8})
    assert exported.generation(config, 7, only_ends=True) is None
    found = exported.generation(config, 9, only_ends=True)
    assert json.loads(found or "") == {"eos_token_id": [9, 7]}
