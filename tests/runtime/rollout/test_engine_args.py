"""Which vLLM an engine becomes: the laptop's and the reference run's, as tables."""

import json
from pathlib import Path

import pytest

from sea_runtime.rollout import base_model, engine, engine_args
from sea_runtime.rollout.engine_args import Placement
from sea_runtime.rollout.settings import Settings
from sea_runtime.wire.weights import ModelReply

TINY = {"num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 32, "num_hidden_layers": 4}
QWEN = {
    "num_attention_heads": 64,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "num_hidden_layers": 94,
}


def reply(precision: str = "float32", context: int = 512, tensor: int = 1) -> ModelReply:
    return ModelReply(
        url="s3://b/base",
        name="m",
        precision=precision,
        context_length=context,
        tensor_parallel=tensor,
        expert_parallel=tensor > 1,
    )


def test_every_start_of_an_engine_samples_with_another_seed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two fresh engines answered eight of eight requests identically: all began with seed 0."""
    (tmp_path / "config.json").write_text(json.dumps(TINY))
    found = reply()
    monkeypatch.setattr(engine, "ObjectStore", lambda: None)
    monkeypatch.setattr(base_model, "await_model", lambda *_: found)
    monkeypatch.setattr(base_model, "fetch", lambda *_, **__: tmp_path)
    seeds = set()
    for pod in ("a", "a", "b"):
        settings = Settings("http://c", "t", pod, "127.0.0.1", "rollout", "policy", 0, tmp_path)
        program, _ = engine.command(settings)
        seeds.add(program[program.index("--seed") + 1])
    assert len(seeds) == 3


def test_cpu_engine_has_one_process_and_a_small_cache() -> None:
    """No GPU flags; the cache holds 128 dialogues of full length."""
    place = Placement(Path("/m"), "127.0.0.5", gpus=0)
    arguments = engine_args.arguments(reply(), TINY, place)
    assert arguments[arguments.index("--distributed-executor-backend") + 1] == "uni"
    assert arguments[arguments.index("--dtype") + 1] == "float32"
    assert arguments[arguments.index("--logprobs-mode") + 1] == "processed_logprobs"
    assert arguments[arguments.index("--host") + 1] == "127.0.0.5"
    assert arguments[arguments.index("--kv-cache-memory-bytes") + 1] == str(128 << 20)
    assert "--tensor-parallel-size" not in arguments


def test_the_jobs_episodes_per_engine_are_its_sequences_and_size_its_cache() -> None:
    place = Placement(Path("/m"), "127.0.0.5", gpus=0, max_sequences=256)
    arguments = engine_args.arguments(reply(), TINY, place)
    assert arguments[arguments.index("--max-num-seqs") + 1] == "256"
    assert arguments[arguments.index("--kv-cache-memory-bytes") + 1] == str(256 << 20)


@pytest.mark.parametrize("gpus", [0, 8])
def test_an_engine_names_the_experts_of_its_tokens_only_if_they_are_replayed(gpus: int) -> None:
    """The variable is for the plug-in, which makes it possible on a CPU."""
    for wanted in (False, True):
        place = Placement(Path("/m"), "10.0.0.5", gpus=gpus, returns_experts=wanted)
        arguments = engine_args.arguments(reply(), QWEN, place)
        assert ("--enable-return-routed-experts" in arguments) is wanted
        assert ("SEA_ROUTER_REPLAY" in engine_args.environment({}, place)) is wanted


def test_gpu_engine_of_the_reference_run() -> None:
    """235B on one node of 8: tensor and expert parallel, CUDA graphs, vLLM's own cache size."""
    place = Placement(Path("/m"), "10.0.0.5", gpus=8)
    arguments = engine_args.arguments(reply("bfloat16", 32768, 8), QWEN, place)
    assert arguments[arguments.index("--tensor-parallel-size") + 1] == "8"
    assert "--enable-expert-parallel" in arguments
    assert "--enforce-eager" not in arguments
    assert "--kv-cache-memory-bytes" not in arguments


@pytest.mark.parametrize(
    ("context", "precision", "expected"),
    [(16, "float32", 64 << 20), (512, "bfloat16", 64 << 20), (1 << 20, "float32", 1 << 30)],
)
def test_cache_stays_between_its_bounds(context: int, precision: str, expected: int) -> None:
    assert engine_args.kv_cache_bytes(reply(precision, context), TINY, 128) == expected


@pytest.mark.parametrize(
    ("base", "gpus", "variable", "expected"),
    [
        ({}, 0, "OMP_NUM_THREADS", "1"),
        ({}, 0, "SEA_FORK_ENGINE_CORE", "1"),
        ({"OMP_NUM_THREADS": "4"}, 0, "OMP_NUM_THREADS", "4"),
        ({"OMP_NUM_THREADS": "4"}, 0, "SEA_FORK_ENGINE_CORE", "0"),
        ({"VLLM_CPU_KVCACHE_SPACE": "1"}, 0, "VLLM_CPU_KVCACHE_SPACE", None),
        ({}, 8, "SEA_FORK_ENGINE_CORE", None),
        ({}, 8, "VLLM_SERVER_DEV_MODE", "1"),
    ],
)
def test_pod_variables_win_over_ours(
    base: dict[str, str], gpus: int, variable: str, expected: str | None
) -> None:
    """Except for the cache size, which vLLM would read from there in whole GiB."""
    place = Placement(Path("/m"), "127.0.0.5", gpus)
    assert engine_args.environment(base, place).get(variable) == expected
