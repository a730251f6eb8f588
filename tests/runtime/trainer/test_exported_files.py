"""What an exported folder takes over from the initial one, file by file."""

import json
from pathlib import Path
from typing import Any

import pytest

from sea_data.models.exported import is_copied
from sea_env.tokens.renderer import Renderer
from sea_runtime.trainer import model_files
from sea_testing.models import tiny_files


def exported(tmp_path: Path, **added: Any) -> tuple[Path, Path]:
    """(initial, exported) folder of the tiny model with more files in it."""
    initial, folder = tmp_path / "initial", tmp_path / "exported"
    for place in (initial, folder):
        place.mkdir()
    bodies = {name: json.dumps(value, indent=3).encode() for name, value in added.items()}
    for name, body in {**tiny_files(), **bodies}.items():
        (initial / name).write_bytes(body)
    model_files.copy_others(initial, folder, "bfloat16")
    return initial, folder


def end_of_turn() -> int:
    """Of the tiny model's tokenizer."""
    added = json.loads(tiny_files()["tokenizer.json"])["added_tokens"]
    return next(one["id"] for one in added if one["content"] == "<|im_end|>")


def test_every_other_file_is_the_initial_one_byte_by_byte(tmp_path: Path) -> None:
    """tokenizer, template and generation settings; config.json has a test of its own."""
    settings = {"eos_token_id": [end_of_turn(), 0], "top_k": 20, "temperature": 0.7}
    initial, folder = exported(
        tmp_path, **{"generation_config.json": settings, "vocab.json": {"a": 1}}
    )
    copied = {file.name for file in folder.iterdir()}
    assert copied == {file.name for file in initial.iterdir() if is_copied(file.name)}
    assert copied >= {"tokenizer.json", "tokenizer_config.json", "generation_config.json"}
    for name in copied - {"config.json"}:
        assert (folder / name).read_bytes() == (initial / name).read_bytes(), name


@pytest.mark.parametrize("given", [{"eos_token_id": 0}, {"eos_token_id": [0]}])
def test_a_base_models_export_ends_its_answers_where_the_jobs_engines_do(
    tmp_path: Path, given: dict[str, Any]
) -> None:
    """Its settings name the end of a document alone."""
    _, folder = exported(tmp_path, **{"generation_config.json": given})
    ends = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
    assert ends == [Renderer.load(folder).end_id, 0]
