"""A base model's files are looked at before any pod loads them: each fault names its file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sea_api.v1alpha1.data import ThinkingHistory
from sea_api.v1alpha1.job import Spec
from sea_runtime.coordinator import model_files, stage_plan
from sea_runtime.coordinator.errors import PreconditionError
from sea_testing import fp8
from sea_testing.coordinator.memory_store import MemoryStore
from sea_testing.models import put_tiny_model, tiny_files

FOLDER = "s3://b/m"
RL = {"name": "rl", "type": "RL", "rl": {}}
EVALUATION = {"name": "eval", "type": "Evaluation", "evaluation": {}}


def spec(stage: dict[str, Any]) -> Spec:
    return Spec.model_validate(
        {
            "model": {"name": "m", "source": FOLDER},
            "storage": {"url": "s3://bucket/run"},
            "data": {"rl": ["s3://b/rl.jsonl"]},
            "domains": ["shop"],
            "stages": [stage],
        }
    )


@pytest.fixture
def store() -> MemoryStore:
    found = MemoryStore()
    put_tiny_model(found, FOLDER)
    return found


Change = Callable[[bytes], bytes | None]


def config(**changes: Any) -> Change:
    return lambda body: json.dumps({**json.loads(body), **changes}).encode()


def check(store: MemoryStore, stage: dict[str, Any]) -> None:
    model_files.check(store, spec(stage), FOLDER, stage_plan.POLICY)  # type: ignore[arg-type]


@pytest.mark.parametrize("stage", [RL, EVALUATION])
def test_a_whole_folder_is_fine(store: MemoryStore, stage: dict[str, Any]) -> None:
    check(store, stage)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("model.safetensors", lambda body: None, "has neither model.safetensors nor"),
        ("model.safetensors", lambda body: body[:-9], "model.safetensors has .* cut short"),
        ("config.json", config(num_hidden_layers=5), "no tensor model.layers.4"),
        ("config.json", config(num_hidden_layers=3), "has the tensor model.layers.3"),
        ("config.json", config(moe_intermediate_size=64), "don't belong together"),
        ("config.json", config(vocab_size=10), "with id [0-9]+, but its embedding has 10 rows"),
        ("tokenizer.json", lambda body: None, "has no tokenizer.json"),
        ("tokenizer.json", lambda body: b"{}", "tokenizer.json can't be read"),
        (
            "tokenizer.json",
            lambda body: b"version https://git-lfs.github.com/spec/v1\n",
            "tokenizer.json is a Git LFS pointer",
        ),
        (
            "tokenizer.json",
            lambda body: body.replace(b"<|im_end|>", b"<|end|>"),
            r"no token <\|im_end\|>",
        ),
        (
            "tokenizer_config.json",
            lambda body: b'{"chat_template": "{% if %}"}',
            "chat template isn't valid Jinja",
        ),
    ],
)
def test_a_fault_names_the_file_and_the_model(
    store: MemoryStore, name: str, change: Change, words: str
) -> None:
    changed = change(store.objects.pop(f"{FOLDER}/{name}"))
    if changed is not None:
        store.put(f"{FOLDER}/{name}", changed)
    with pytest.raises(PreconditionError, match=words) as error:
        check(store, RL if name != "config.json" or "rows" not in words else EVALUATION)
    assert error.value.problem.reason == "ModelUnusable"
    assert FOLDER in str(error.value)


def test_a_folder_of_fp8_blocks_is_fine_if_no_scale_is_missing(
    store: MemoryStore, tmp_path: Path
) -> None:
    for name, body in tiny_files().items():
        (tmp_path / name).write_bytes(body)
    fp8.quantize_folder(tmp_path, (32, 16))
    for file in tmp_path.iterdir():
        store.put(f"{FOLDER}/{file.name}", file.read_bytes())
    check(store, RL)
    coarser = {"quant_method": "fp8", "weight_block_size": [64, 64]}
    changed = config(quantization_config=coarser)(store.objects[f"{FOLDER}/config.json"])
    assert changed is not None
    store.put(f"{FOLDER}/config.json", changed)
    with pytest.raises(PreconditionError, match=r"_scale_inv in model\.safetensors is \["):
        check(store, RL)
    check(store, EVALUATION)


def test_an_engine_may_serve_what_the_trainer_cannot_train(store: MemoryStore) -> None:
    body = config(architectures=["LlamaForCausalLM"])(store.objects[f"{FOLDER}/config.json"])
    assert body is not None
    store.put(f"{FOLDER}/config.json", body)
    check(store, EVALUATION)


def test_thoughts_cannot_be_stripped_from_a_model_that_writes_none(store: MemoryStore) -> None:
    given = spec(RL)
    model = given.model.model_copy(update={"thinking_history": ThinkingHistory.STRIP})
    wanted = given.model_copy(update={"model": model})
    with pytest.raises(PreconditionError, match="writes no thoughts by its chat template"):
        model_files.check(store, wanted, FOLDER, stage_plan.POLICY)  # type: ignore[arg-type]
    model_files.check(store, wanted, FOLDER, stage_plan.USER)  # type: ignore[arg-type]
