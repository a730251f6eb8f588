"""Trains tiny models with each way to save memory and prints what they computed.

A program: `python memory_probe.py FOLDER`, one rank. Its last line is a JSON object {case: [losses,
norms of the gradients, sum of the parameters' absolute values, views of stacked weights]}.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.distributed as dist
from megatron.core.transformer.moe.experts import SequentialMLP

from sea_api.v1alpha1.roles import TrainerParallelism
from sea_api.v1alpha1.trainer_memory import OptimizerMemory, Recomputation
from sea_runtime.parallel import hf_config, parallel_layout
from sea_runtime.trainer import (
    grouped_linear,
    megatron_config,
    megatron_workarounds,
    model,
    pipeline,
    process_groups,
    shared_prefixes,
)
from sea_runtime.trainer.optimizer import Optimizer
from sea_runtime.trainer.packed_row import MicrobatchTensors
from sea_testing.models import MOE_CONFIG

STEPS = 3
MOE = MOE_CONFIG | {"tie_word_embeddings": True}
DENSE = {key: value for key, value in MOE.items() if not key.startswith(("num_experts", "moe"))} | {
    "architectures": ["Qwen3ForCausalLM"],
    "intermediate_size": 48,
}


def train(
    config: dict[str, Any],
    recompute: Recomputation = Recomputation.NONE,
    memory: OptimizerMemory = OptimizerMemory(),  # noqa: B008  frozen
    dtype: torch.dtype = torch.float32,
    prompt: int = 0,
) -> list[Any]:
    shape = hf_config.parse(json.dumps(config))
    place = parallel_layout.plan(TrainerParallelism(), shape, 1).place(0)
    built = model.build(shape, place, dtype, row_tokens=64, recompute=recompute)
    # By name: experts are registered in another order than Megatron's.
    for name, parameter in sorted(built.gpt.named_parameters()):
        values = torch.empty(parameter.shape)
        generator = torch.Generator().manual_seed(sum(name.encode()))
        parameter.data.copy_(torch.nn.init.normal_(values, std=0.1, generator=generator))
    optimizer = Optimizer(built, 1e-2, memory)
    tokens = [np.arange(20), np.arange(20, 32)]
    if prompt:
        tokens = [np.concatenate([np.arange(prompt), one]) for one in tokens]
    every = [(np.arange(len(one)) >= prompt).astype(float) for one in tokens]
    losses: list[float] = []
    norms = []

    def objective(_: MicrobatchTensors, logp_t: torch.Tensor, __: torch.Tensor) -> torch.Tensor:
        loss = -logp_t.sum() / 32
        losses[-1] += float(loss.detach())
        return loss

    for _ in range(STEPS):
        optimizer.zero()
        losses.append(0.0)
        pipeline.train(
            built, built.plan(tokens, [0, 1], every), tokens, every, objective, lambda: None
        )
        norms.append(optimizer.step(1e-2))
    total = sum(float(one.detach().abs().double().sum()) for one in built.gpt.parameters())
    return [losses, norms, total]


def sequential(config: dict[str, Any]) -> list[Any]:
    """With Megatron's experts, one after another."""
    with mock.patch.object(megatron_config, "GroupedExperts", SequentialMLP):
        return train(config)


def counting_views(run: Callable[[], list[Any]]) -> list[Any]:
    """Appends how often stacked weights were a view and how often a copy."""
    views = [0, 0]
    original = grouped_linear.stacked

    def counted(weights: Any) -> torch.Tensor:
        found = original(weights)
        same = found.untyped_storage().data_ptr() == weights[0].untyped_storage().data_ptr()
        views[not same] += 1
        return found

    with mock.patch.object(grouped_linear, "stacked", counted):
        return [*run(), views]


def unshared() -> list[Any]:
    """Every sequence computes its prompt."""
    with mock.patch.object(shared_prefixes, "MIN_SHARED", 1000):
        return train(MOE, prompt=PROMPT)


PROMPT = 17
OFFLOAD = OptimizerMemory(offload=True)
CASES: dict[str, Callable[[], list[Any]]] = {
    "moe": lambda: counting_views(lambda: train(MOE)),
    "moe sequential": lambda: sequential(MOE),
    "moe Selective": lambda: train(MOE, Recomputation.SELECTIVE),
    "moe Full": lambda: train(MOE, Recomputation.FULL),
    "moe bf16": lambda: train(MOE, dtype=torch.bfloat16),
    "moe bf16 offload": lambda: train(MOE, memory=OFFLOAD, dtype=torch.bfloat16),
    "moe, a shared prompt": lambda: train(MOE, prompt=PROMPT),
    "moe, a prompt in each": unshared,
    "dense": lambda: train(DENSE),
    "dense Selective": lambda: train(DENSE, Recomputation.SELECTIVE),
    "dense Full": lambda: train(DENSE, Recomputation.FULL),
}


def main() -> None:
    torch.set_num_threads(1)
    megatron_workarounds.apply(cuda=False, te=False)
    store = dist.FileStore(str(Path(sys.argv[1]) / "store"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    shape = hf_config.parse(json.dumps(MOE))
    layout = parallel_layout.plan(TrainerParallelism(), shape, 1)
    process_groups.build_model_parallel_groups(layout, 60.0)
    print(json.dumps({name: run() for name, run in CASES.items()}))  # noqa: T201


if __name__ == "__main__":
    main()
