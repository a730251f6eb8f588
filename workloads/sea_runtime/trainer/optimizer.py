"""AdamW on Megatron's DistributedOptimizer: states sharded over replicas, gradients clipped at 1.

A stage has its own optimizer. `step` sets the rate (a pure function of the step, `schedule.py`),
reduces the gradients, clips and updates. On a CPU torch's AdamW stands under it and runs fused.
"""

import contextlib
import importlib
from typing import Any

from megatron.core.distributed import finalize_model_grads
from megatron.core.optimizer import OptimizerConfig, get_megatron_optimizer

from sea_runtime.trainer.device import has_cuda
from sea_runtime.trainer.model import Model
from sea_runtime.trainer.sanity import require_finite

BETAS = (0.9, 0.95)
CLIP_NORM = 1.0


def device_names() -> contextlib.AbstractContextManager[Any]:
    """Around what names the device `cuda` inside the library (see `megatron_cpu/cuda_names.py`)."""
    if has_cuda():
        return contextlib.nullcontext()
    return importlib.import_module("sea_runtime.trainer.megatron_cpu.cuda_names").cuda_names()


class Optimizer:
    """One stage's optimizer over one model."""

    def __init__(self, model: Model, learning_rate: float) -> None:
        self.model = model
        config = OptimizerConfig(
            optimizer="adam",
            lr=learning_rate,
            weight_decay=0.0,
            adam_beta1=BETAS[0],
            adam_beta2=BETAS[1],
            clip_grad=CLIP_NORM,
            bf16=model.gpt.config.bf16,
            params_dtype=model.gpt.config.params_dtype,
            use_distributed_optimizer=True,
        )
        with device_names():
            self.megatron = get_megatron_optimizer(
                config, [model.ddp], use_gloo_process_groups=has_cuda()
            )
        if not has_cuda():
            self._fuse()

    def _fuse(self) -> None:
        """torch's fused kernel walks each parameter once instead of eight times."""
        for part in self.megatron.chained_optimizers:
            for group in part.optimizer.param_groups:
                group["fused"] = True
                group["foreach"] = False

    def zero(self) -> None:
        self.model.ddp.zero_grad_buffer()
        self.megatron.zero_grad()

    def step(self, learning_rate: float) -> float:
        """Updates the parameters from the accumulated gradients; returns their norm before.

        TrainerError on every rank where the norm is no number: the parameters are useless then.
        """
        with device_names():
            finalize_model_grads([self.model.ddp])
            for group in self.megatron.param_groups:
                group["lr"] = learning_rate
            _, norm, _ = self.megatron.step()
        return require_finite(float(norm))
