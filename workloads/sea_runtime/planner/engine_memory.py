"""What one GPU of an engine holds: its share of the weights, workspaces, and KV cache. Pure."""

from dataclasses import dataclass

from sea_api.limits import MAX_EPISODES
from sea_runtime.parallel.hf_config import ModelShape
from sea_runtime.planner import parameters
from sea_runtime.planner.trainer_memory import Item

UTILIZATION = 0.9
"""Share of a GPU that vLLM takes by default (`gpu_memory_utilization`)."""
WORKSPACE_BYTES = 4 * 10**9
"""Activations of a step of 8,192 tokens, sampler, CUDA graphs and communicators: assumed."""


@dataclass(frozen=True)
class EngineSetup:
    """One engine: the GPUs of one pod."""

    shape: ModelShape
    tensor: int
    element: int
    """Bytes per weight and per element of the KV cache."""
    context: int
    episodes: int = MAX_EPISODES
    """`rollout.maxEpisodes`: what an engine plays at one time."""


def parameters_per_gpu(shape: ModelShape, tensor: int) -> int:
    """Each GPU holds `1/tensor` of the matrices; KV heads fewer than GPUs are held twice or more.

    With expert parallelism a GPU holds whole experts, as many bytes.
    """
    count = parameters.of_model(shape)
    # `whole`: norms, which every GPU has. Biases of q, k and v are left out: they are below 0.1 %.
    keys = 2 * shape.hidden * shape.kv_heads * shape.head_dim * shape.layers
    whole = shape.layers * (2 * shape.hidden + 2 * shape.head_dim) + shape.hidden
    router = shape.layers * shape.experts * shape.hidden
    split = count.total - keys - whole - router
    copies = keys * max(1, tensor // shape.kv_heads)
    return whole + router + (split + copies) // tensor


def kv_token_bytes(setup: EngineSetup) -> int:
    """Keys and values of one token on each GPU."""
    heads = max(1, setup.shape.kv_heads // setup.tensor)
    return 2 * setup.shape.layers * heads * setup.shape.head_dim * setup.element


def fixed(setup: EngineSetup) -> list[Item]:
    """Everything but the KV cache."""
    weights = parameters_per_gpu(setup.shape, setup.tensor) * setup.element
    return [Item("weights", weights), Item("activations, graphs, communicators", WORKSPACE_BYTES)]


@dataclass(frozen=True)
class KvCache:
    """Room for keys and values on each GPU of an engine, and what is asked of it."""

    nbytes: float
    tokens: int
    """Tokens that fit."""
    sequences_full: float
    """Sequences at full context that fit."""
    sequences_mean: float
    """Sequences at half the mean length (a sequence grows from nothing to its length) that fit."""
    asked: int
    """Sequences that the job runs on one engine at a time, at most `EngineSetup.episodes`."""


def kv_cache(setup: EngineSetup, capacity: float, mean_tokens: float, asked: int) -> KvCache:
    """What is left for the cache on a GPU of `capacity` bytes; 0 if the rest doesn't fit."""
    used = sum(item.nbytes for item in fixed(setup))
    room = max(0.0, UTILIZATION * capacity - used)
    tokens = int(room // kv_token_bytes(setup))
    return KvCache(
        nbytes=room,
        tokens=tokens,
        sequences_full=tokens / setup.context,
        sequences_mean=tokens / max(1.0, mean_tokens),
        asked=min(asked, setup.episodes),
    )
