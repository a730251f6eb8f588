"""A folder's weights against its configuration, and a tied output layer that isn't."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from sea_data.models import folder_check, tensors, weight_files
from sea_data.models import shape as shapes
from sea_data.models.weight_files import WeightFileError

Named = dict[str, tuple[str, tuple[int, ...]]]
SIZES = {
    "hidden_size": 8,
    "head_dim": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 1,
    "intermediate_size": 6,
    "vocab_size": 11,
}


@pytest.fixture
def tied(
    configs: Mapping[str, dict[str, Any]],
    named: Callable[..., Named],
    write: Callable[..., Path],
) -> Callable[[str], tuple[shapes.ModelShape, Path]]:
    """A folder with tied embeddings and an output layer of a type."""

    def make(dtype: str) -> tuple[shapes.ModelShape, Path]:
        shape = shapes.of_config({**configs["qwen3"], **SIZES})
        assert shape.tied
        return shape, write({**named(shape), tensors.HEAD: (dtype, (11, 8))})

    return make


def test_an_output_layer_that_equals_the_embedding_is_fine(
    tied: Callable[[str], tuple[shapes.ModelShape, Path]],
) -> None:
    """As Qwen1.5 is published."""
    shape, folder = tied("BF16")
    folder_check.check(weight_files.on_disk(folder), shape)


@pytest.mark.parametrize("piece", [7, 1 << 20])
@pytest.mark.parametrize("place", [0, 100, -1])
def test_one_other_byte_in_it_is_refused(
    tied: Callable[[str], tuple[shapes.ModelShape, Path]],
    place: int,
    piece: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """transformers 5 computes with it, vLLM and the trainer don't: nobody said a word."""
    monkeypatch.setattr(folder_check, "_PIECE_BYTES", piece)
    shape, folder = tied("BF16")
    head = weight_files.read(weight_files.on_disk(folder))[tensors.HEAD]
    file = folder / head.file
    body = bytearray(file.read_bytes())
    body[head.begin + (place if place >= 0 else head.size + place)] ^= 1
    file.write_bytes(body)
    with pytest.raises(WeightFileError, match=r"lm_head\.weight with other values.*tie_word"):
        folder_check.check(weight_files.on_disk(folder), shape)


def test_one_of_another_type_is_refused(
    tied: Callable[[str], tuple[shapes.ModelShape, Path]],
) -> None:
    shape, folder = tied("F32")
    with pytest.raises(WeightFileError, match=r"with other values"):
        folder_check.check(weight_files.on_disk(folder), shape)


def test_what_the_headers_lack_is_a_sentence(
    tied: Callable[[str], tuple[shapes.ModelShape, Path]],
) -> None:
    shape, folder = tied("BF16")
    (folder / "model.safetensors").unlink()
    with pytest.raises(WeightFileError, match="has neither"):
        folder_check.check(weight_files.on_disk(folder), shape)
