"""A folder's weights by their headers: what is missing, short, a pointer, too much or quantized."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from sea_data.models import shape as shapes
from sea_data.models import weight_files
from sea_data.models.shape import ModelShape
from sea_data.models.weight_files import WeightFileError

Named = dict[str, tuple[str, tuple[int, ...]]]
Write = Callable[..., Path]
SMALL = {
    "hidden_size": 8,
    "head_dim": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 1,
    "intermediate_size": 6,
    "moe_intermediate_size": 5,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "vocab_size": 11,
}
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:5a\nsize 3999664960\n"
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


def small(configs: Mapping[str, dict[str, Any]], family: str) -> ModelShape:
    experts = {"moe_intermediate_size", "num_experts", "num_experts_per_tok"}
    sizes = {k: v for k, v in SMALL.items() if family == "moe" or k not in experts}
    if family == "qwen2":
        sizes["head_dim"] = 2
    return shapes.of_config({**configs[family], **sizes})


def read(folder: Path) -> dict[str, weight_files.Tensor]:
    return weight_files.read(weight_files.on_disk(folder))


@pytest.mark.parametrize("family", ["qwen2", "qwen3", "moe"])
@pytest.mark.parametrize("shards", [1, 2])
def test_a_whole_folder_has_no_problem(
    configs: Mapping[str, dict[str, Any]],
    named: Callable[..., Named],
    write: Write,
    family: str,
    shards: int,
) -> None:
    shape = small(configs, family)
    every = list(named(shape).items())
    parts = [dict(every)] if shards == 1 else [dict(every[:5]), dict(every[5:])]
    assert list(weight_files.problems(shape, read(write(*parts)))) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model.norm.weight": None}, "no tensor model.norm.weight, which its config.json implies"),
        ({"extra.bias": ("BF16", (3,))}, "has the tensor extra.bias, of which its config.json"),
        (
            {"model.layers.0.self_attn.q_proj.weight_scale_inv": ("F32", (1, 1))},
            "q_proj.weight_scale_inv",
        ),
        ({"model.norm.weight": ("BF16", (9,))}, r"is \[9\] where config.json implies \[8\]"),
        ({"model.norm.weight": ("F8_E4M3", (8,))}, "as F8_E4M3: the folder is quantized"),
        ({"model.layers.0.self_attn.rotary_emb.inv_freq": ("F32", (2,))}, ""),
        ({"lm_head.weight": ("BF16", (11, 8))}, ""),
        ({"model.layers.1.mlp.up_proj.weight": ("BF16", (6, 8))}, "layers.1.mlp.up_proj"),
    ],
)
def test_tensors_against_the_configuration(
    configs: Mapping[str, dict[str, Any]],
    named: Callable[..., Named],
    write: Write,
    change: dict[str, Any],
    words: str,
) -> None:
    shape = small(configs, "qwen3")
    changed = {k: v for k, v in {**named(shape), **change}.items() if v is not None}
    found = " ".join(weight_files.problems(shape, read(write(changed))))
    assert (words.replace("\\", "") in found) if words else not found


def test_experts_in_one_tensor_are_named_as_such(
    configs: Mapping[str, dict[str, Any]], named: Callable[..., Named], write: Write
) -> None:
    """As transformers 5 keeps them in memory, and saves them if it is told to."""
    shape = small(configs, "moe")
    fused = "model.layers.0.mlp.experts.gate_up_proj"
    kept = {n: t for n, t in named(shape).items() if ".experts." not in n}
    found = list(weight_files.problems(shape, read(write(kept | {fused: ("BF16", (4, 10, 8))}))))
    assert len(found) == 1
    assert fused in found[0]
    assert "save_original_format" in found[0]


def test_a_model_without_tied_embeddings_needs_its_head(
    configs: Mapping[str, dict[str, Any]], named: Callable[..., Named], write: Write
) -> None:
    shape = small({"moe": {**configs["moe"], "tie_word_embeddings": False}}, "moe")
    tensors = named(shape)
    tensors.pop("lm_head.weight")
    found = list(weight_files.problems(shape, read(write(tensors))))
    assert [sentence for sentence in found if "lm_head.weight" in sentence]


A, B = {"a": ("F32", (2,))}, {"b": ("BF16", (3,))}


def header(places: Mapping[str, list[int]], data: int) -> bytes:
    """A file of tensors of three BF16 numbers each, in these places."""
    given = {n: {"dtype": "BF16", "shape": [3], "data_offsets": p} for n, p in places.items()}
    text = json.dumps(given).encode()
    return len(text).to_bytes(8, "little") + text + bytes(data)


def break_file(folder: Path, name: str, how: str) -> None:
    file = folder / name
    body = file.read_bytes() if file.exists() else b""
    changed = {
        "missing": None,
        "pointer": POINTER,
        "empty": b"",
        "cut in the data": body[:-1],
        "cut in the header": body[:20],
        "longer": body + b"x",
        "no header": b"no safetensors at all, but text that is long enough",
        "broken header": (5).to_bytes(8, "little") + b"{{{{{",
        "a list": (2).to_bytes(8, "little") + b"[]",
        "overlapping": header({"b": [0, 6], "d": [0, 6]}, 6),
        "with a hole": header({"b": [0, 6], "d": [8, 14]}, 14),
    }[how]
    file.unlink(missing_ok=True)
    if changed is not None:
        file.write_bytes(changed)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("missing", "is missing, but model.safetensors.index.json names it"),
        ("pointer", "Git LFS pointer.*git lfs pull"),
        ("empty", "0 bytes"),
        ("cut in the data", "cut short or changed"),
        ("cut in the header", "cut short within the header"),
        ("longer", "cut short or changed"),
        ("no header", "aren't safetensors"),
        ("broken header", "no safetensors header"),
        ("a list", "no safetensors header"),
        ("overlapping", "its tensors overlap"),
        ("with a hole", "bytes between them belong to none"),
    ],
)
def test_a_shard_that_cannot_be_used_is_named(write: Write, how: str, words: str) -> None:
    folder = write(A, B)
    break_file(folder, SECOND, how)
    with pytest.raises(WeightFileError, match=f"{SECOND}.*{words}"):
        read(folder)


def test_a_single_file_that_is_a_pointer_is_named(write: Write) -> None:
    folder = write(A)
    break_file(folder, "model.safetensors", "pointer")
    with pytest.raises(WeightFileError, match=r"model\.safetensors is a Git LFS pointer"):
        read(folder)


def test_a_folder_without_weights(tmp_path: Path) -> None:
    with pytest.raises(WeightFileError, match="has neither"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ("{", "can't be read"),
        ("{}", "can't be read"),
        (POINTER.decode(), "Git LFS pointer"),
        ({"a": FIRST, "c": FIRST, "b": SECOND}, f"says that {FIRST} has the tensor c"),
        ({"a": SECOND, "b": SECOND}, "has the tensor a"),
        ({"b": SECOND, "d": FIRST}, "has the tensor d"),
        ({"a": "../../etc/passwd"}, "names the file"),
    ],
)
def test_an_index_that_says_something_else_than_the_files(
    write: Write, index: Any, words: str
) -> None:
    folder = write(A, B)
    text = index if isinstance(index, str) else json.dumps({"weight_map": index})
    (folder / "model.safetensors.index.json").write_text(text)
    with pytest.raises(WeightFileError, match=words):
        read(folder)


def test_a_tensor_that_the_index_leaves_out(write: Write) -> None:
    folder = write({**A, "c": ("F32", (1,))}, B)
    index = {"weight_map": {"a": FIRST, "b": SECOND}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(WeightFileError, match=f"{FIRST} has the tensor c, which"):
        read(folder)


def test_a_single_file_next_to_an_index_is_ambiguous(write: Write) -> None:
    folder = write(A, B)
    (folder / "model.safetensors").write_bytes((folder / FIRST).read_bytes())
    with pytest.raises(WeightFileError, match=r"has model\.safetensors and an index"):
        read(folder)


def test_a_tensor_that_two_files_have(write: Write) -> None:
    folder = write({**A, "c": ("F32", (1,))}, {**A, **B})
    with pytest.raises(WeightFileError, match="both have the tensor a"):
        read(folder)
