"""AdamW on Megatron's DistributedOptimizer: states sharded over replicas, gradients clipped at 1.

A stage has its own optimizer. `step` sets the rate (a pure function of the step, `schedule.py`),
reduces the gradients, clips and updates. On a CPU it runs torch's AdamW, fused.
"""

from megatron.core.distributed import finalize_model_grads
from megatron.core.optimizer import OptimizerConfig, get_megatron_optimizer

from sea_runtime.trainer.device import device_names, has_cuda
from sea_runtime.trainer.finite import require_finite_norm
from sea_runtime.trainer.model import Model

BETAS = (0.9, 0.95)
CLIP_NORM = 1.0


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
        """torch's fused kernel reads each parameter once instead of eight times."""
        for part in self.megatron.chained_optimizers:
            for group in part.optimizer.param_groups:
                group["fused"] = True
                # torch's Adam runs one implementation: `foreach` must not be set next to `fused`.
                group["foreach"] = False

    def zero(self) -> None:
        """Clears the gradients."""
        # Both: the DDP's buffers accumulate over microbatches, and the optimizer keeps gradients of
        # its main parameters.
        self.model.ddp.zero_grad_buffer()
        self.megatron.zero_grad()

    def step(self, learning_rate: float) -> float:
        """Updates the parameters from the accumulated gradients. Collective.

        Returns:
            The norm of the gradients before clipping, the same on every rank.

        Raises:
            DivergenceError: the norm is not finite, on every rank: the parameters are ruined.
        """
        with device_names():
            # Reduce before the update: until here every rank has the gradients of its own rows
            # only.
            finalize_model_grads([self.model.ddp])
            for group in self.megatron.param_groups:
                group["lr"] = learning_rate
            _, norm, _ = self.megatron.step()
        return require_finite_norm(float(norm))
