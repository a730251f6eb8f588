"""AdamW on Megatron's DistributedOptimizer: states sharded over replicas, gradients clipped at 1.

A stage has its own optimizer. `step` sets the rate (a pure function of the step, so a resumed stage
repeats what it would have done), reduces the gradients, clips and updates. Without
TransformerEngine it runs torch's AdamW, fused.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from megatron.core.distributed import finalize_model_grads
from megatron.core.optimizer import OptimizerConfig, get_megatron_optimizer

from sea_api.v1alpha1.data import Precision
from sea_api.v1alpha1.sft_stage import SFTStage
from sea_api.v1alpha1.stages import RLStage
from sea_api.v1alpha1.trainer_memory import OptimizerMemory
from sea_runtime.trainer.device import device_names, has_cuda, has_te, training_device
from sea_runtime.trainer.errors import DivergenceError, OptimizerError
from sea_runtime.trainer.model import Model
from sea_runtime.trainer.optimizer_offload import HostStates

CLIP_NORM = 1.0


@dataclass(frozen=True)
class AdamW:
    """What a stage may set of AdamW besides the rate; may change from step to step."""

    weight_decay: float = 0.0
    """Decoupled; biases and vectors (norms) have none, as Megatron groups them."""
    betas: tuple[float, float] = (0.9, 0.95)

    @classmethod
    def of(cls, block: SFTStage | RLStage) -> "AdamW":
        """The stage's settings."""
        return cls(block.weight_decay, (block.adam_beta1, block.adam_beta2))


def sft_rate(step: int, rate: float, warmup: int) -> float:
    """Learning rate of 1-based `step`: linear from 0 over `warmup` steps, then constant."""
    return rate * min(1.0, step / warmup) if warmup else rate


def rl_rate(step: int, rate: float, warmup: int, steps: int, final_fraction: float) -> float:
    """As `sft_rate`, with linear decay to `final_fraction` of the rate at the last step."""
    done = (step - 1) / max(1, steps - 1)
    return sft_rate(step, rate, warmup) * (1.0 - (1.0 - final_fraction) * done)


def require_finite_norm(norm: float) -> float:
    """Returns the norm of the gradients.

    Raises:
        DivergenceError: the norm is NaN or infinite, so the update has ruined the parameters.
    """
    if not math.isfinite(norm):
        raise DivergenceError(
            f"The norm of the gradients is {norm}: this step would ruin the model, so training "
            "goes back to the last checkpoint. If it happens again, lower the stage's "
            "learningRate, use precision FP32, or look for NaN in the stage's initial model."
        )
    return norm


class Optimizer:
    """One stage's optimizer over one model."""

    def __init__(
        self,
        model: Model,
        learning_rate: float,
        memory: OptimizerMemory = OptimizerMemory(),  # noqa: B008  frozen
    ) -> None:
        self.model, self.memory = model, memory
        config = OptimizerConfig(
            optimizer="adam",
            lr=learning_rate,
            # Overridden at each step, as are the betas.
            weight_decay=0.0,
            clip_grad=CLIP_NORM,
            bf16=model.gpt.config.bf16,
            params_dtype=model.gpt.config.params_dtype,
            use_distributed_optimizer=True,
            **state_options(memory, te=has_te()),
        )
        with device_names():
            self.megatron = get_megatron_optimizer(
                config, [model.ddp], use_gloo_process_groups=has_cuda()
            )
        fuse(self.megatron)
        self._host = HostStates(self.megatron, training_device()) if memory.offload else None

    def zero(self) -> None:
        """Clears the gradients, and makes room for the passes through the model."""
        if self._host:
            self._host.to_host()
        # Both: the DDP's buffers accumulate over microbatches, and the optimizer keeps gradients of
        # its main parameters.
        self.model.ddp.zero_grad_buffer()
        self.megatron.zero_grad()

    def step(self, learning_rate: float, adamw: AdamW = AdamW()) -> float:
        """Updates the parameters from the accumulated gradients. Collective.

        Returns:
            The norm of the gradients before clipping, the same on every rank.

        Raises:
            DivergenceError: the norm is not finite, on every rank: the parameters are ruined.
        """
        # They stay on the device until `zero`: a checkpoint after this step is made from there.
        if self._host:
            self._host.to_device()
        with device_names():
            # Reduce before the update: until here every rank has the gradients of its own rows
            # only.
            finalize_model_grads([self.model.ddp])
            for group in self.megatron.param_groups:
                group["lr"] = learning_rate
                group["betas"] = adamw.betas
                # wd_mult: 0 for the parameters that Megatron leaves out of the decay.
                group["weight_decay"] = adamw.weight_decay * group.get("wd_mult", 1.0)
            _, norm, _ = self.megatron.step()
        return require_finite_norm(float(norm))


def state_options(memory: OptimizerMemory, *, te: bool) -> dict[str, Any]:
    """Fields of Megatron's OptimizerConfig for Adam's moments.

    Raises:
        OptimizerError: moments in BF16 need an Adam that this image doesn't have.
    """
    if memory.moments is Precision.FP32:
        return {}
    if not te:
        raise OptimizerError(
            "trainer.optimizer.moments is BF16, which needs the FusedAdam of TransformerEngine, and"
            " this trainer's image doesn't have the library: set moments to FP32, use"
            " optimizer.offload to save GPU memory, or use an image with TransformerEngine."
        )
    return {
        "use_precision_aware_optimizer": True,
        # Whole main parameters: a checkpoint saves them without the model's.
        "store_param_remainders": False,
        "exp_avg_dtype": torch.bfloat16,
        "exp_avg_sq_dtype": torch.bfloat16,
    }


def fuse(megatron: Any) -> None:
    """Makes torch's AdamW, which Megatron uses without TransformerEngine, run as one kernel.

    On a CPU it reads each parameter once instead of eight times; on a GPU `foreach`, torch's
    default, would need a temporary of the size of all parameters.
    """
    for part in megatron.chained_optimizers:
        if not isinstance(part.optimizer, torch.optim.Adam | torch.optim.AdamW):
            continue
        for group in part.optimizer.param_groups:
            group["fused"] = True
            # torch's Adam runs one implementation: `foreach` must not be set next to `fused`.
            group["foreach"] = False
