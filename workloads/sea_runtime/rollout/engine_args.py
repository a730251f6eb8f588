"""vLLM's arguments and variables for one engine, as pure functions of what the engine is for.

The CPU case is tuned for a laptop: on 2 cores with the tiny model, one process instead of three and
a forked engine core reduce start-up from 29 to 11 s of CPU, an idle engine from 0.35 cores to 0.02,
memory from 2.3 to 1.4 GiB and a request from 9.6 to 5.1 ms of CPU (measured).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sea_api import limits
from sea_api.contract import ENGINE_PORT, Env
from sea_runtime.rollout.server import FORK_VARIABLE
from sea_runtime.wire.weights import ModelReply

CPU_BLOCK_TOKENS = 32
"""KV block size; vLLM's default of 128 on CPUs never caches the prefix of a short dialogue."""
_MIN_KV_BYTES = 64 << 20
_MAX_KV_BYTES = 1 << 30
_WORKER_EXTENSION = "sea_runtime.rollout.vllm_plugin.transfer_engine.SeaWorker"


@dataclass(frozen=True)
class Placement:
    """Where one engine runs."""

    folder: Path
    """HF folder on local disk."""
    host: str
    gpus: int
    """0: on the CPU."""
    seed: int = 0
    max_sequences: int = limits.MAX_EPISODES
    """Requests that run at one time."""
    empty: bool = False
    """The folder has no weights: they come with the first weight version."""
    returns_experts: bool = False
    """Answers say which experts computed each token (`rollout.routerReplay`)."""


def arguments(model: ModelReply, config: Mapping[str, Any], place: Placement) -> list[str]:
    """Command line of `server`; `config` is the HF folder's config.json."""
    common = [
        *("--model", str(place.folder)),
        *("--served-model-name", model.name),
        *("--host", place.host),
        *("--port", str(ENGINE_PORT)),
        *("--dtype", model.precision.lower()),
        *("--max-model-len", str(model.context_length)),
        *("--max-num-seqs", str(place.max_sequences)),
        *("--seed", str(place.seed)),
        # "vllm" ignores the model's generation_config.json, whose top_p or top_k would change the
        # sampling behind the trainer's back.
        *("--generation-config", "vllm"),
        # After the temperature, as the trainer computes them; vLLM's default is before.
        *("--logprobs-mode", "processed_logprobs"),
        *("--weight-transfer-config", '{"backend": "sea"}'),
        *("--worker-extension-cls", _WORKER_EXTENSION),
        "--enable-scale-out",
        # Prompts and answers are token ids: the engine loads no tokenizer.
        "--tokens-only",
        "--disable-uvicorn-access-log",
        "--disable-fastapi-docs",
    ]
    if place.empty:
        # Random weights, which are never served: `SeaWorker.sea_is_empty`.
        common += ["--load-format", "dummy"]
    if place.returns_experts:
        common.append("--enable-return-routed-experts")
    return common + (_gpu(model) if place.gpus else _cpu(model, config, place.max_sequences))


def _gpu(model: ModelReply) -> list[str]:
    parallel = ["--tensor-parallel-size", str(model.tensor_parallel)]
    return parallel + (["--enable-expert-parallel"] if model.expert_parallel else [])


def _cpu(model: ModelReply, config: Mapping[str, Any], sequences: int) -> list[str]:
    return [
        "--enforce-eager",
        "--disable-log-stats",
        *_cpu_workers(model.tensor_parallel),
        *("--block-size", str(CPU_BLOCK_TOKENS)),
        *("--kv-cache-memory-bytes", str(kv_cache_bytes(model, config, sequences))),
    ]


def _cpu_workers(count: int) -> list[str]:
    if count == 1:
        # It needs no process of its own.
        return ["--distributed-executor-backend", "uni"]
    return ["--distributed-executor-backend", "mp", "--tensor-parallel-size", str(count)]


def kv_cache_bytes(model: ModelReply, config: Mapping[str, Any], sequences: int) -> int:
    """Enough for all sequences at full context, between 64 MiB and 1 GiB."""
    heads = int(config["num_attention_heads"])
    kv_heads = int(config.get("num_key_value_heads") or heads)
    head_dim = int(config.get("head_dim") or config["hidden_size"] // heads)
    # Keys and values, per layer and KV head: 2 * layers * heads * dim * element bytes per token.
    element = 4 if model.precision.lower() == "float32" else 2
    token = 2 * int(config["num_hidden_layers"]) * kv_heads * head_dim * element
    needed = token * model.context_length * sequences
    return max(_MIN_KV_BYTES, min(_MAX_KV_BYTES, needed))


def environment(base: Mapping[str, str], place: Placement) -> dict[str, str]:
    """Variables of `server`: our defaults, overridden by what the pod sets."""
    defaults = {
        # The endpoints for pause, resume, collective_rpc and weight updates exist in this mode
        # only.
        "VLLM_SERVER_DEV_MODE": "1",
        "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "600",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_DISABLE_LOG_LOGO": "1",
    }
    if place.returns_experts:
        # For the plug-in, in each of the engine's processes (`cpu_routed_experts.py`).
        defaults[Env.ROUTER_REPLAY] = "1"
    if place.gpus == 0:
        defaults |= {
            "OMP_NUM_THREADS": "1",
            # Two small functions of the sampler are compiled at the first request, 25 s of g++ in
            # a fresh pod, while health probes go unanswered.
            "TORCHDYNAMO_DISABLE": "1",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            FORK_VARIABLE: "1",
        }
    # The pod's variables come last: a template may override ours.
    merged = defaults | dict(base)
    if place.gpus == 0:
        # It would override --kv-cache-memory-bytes, in whole GiB.
        merged.pop("VLLM_CPU_KVCACHE_SPACE", None)
        if merged["OMP_NUM_THREADS"] != "1":
            merged[FORK_VARIABLE] = "0"  # OpenMP's threads don't survive a fork
    return merged


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of an HF folder; multimodal ones keep the text model's numbers one level down."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return config.get("text_config", config)
