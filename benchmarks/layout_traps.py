"""Five mistakes in which the loss looks right and the training is wrong, each made on purpose.

Without the cure, which is named, a case must differ from the one-process run: the parity of the
others proves the cures only if their absence shows.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

from layout_training import replaced
from megatron.core.distributed import DistributedDataParallelConfig
from megatron.core.optimizer import OptimizerConfig
from torch import Tensor

from sea_runtime.parallel.parallel_layout import ParallelLayout
from sea_runtime.trainer import gpt, megatron_config, model, optimizer, pipeline

Trap = contextlib.AbstractContextManager[None]


class _UnmarkedNorm(gpt.Norm):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.weight.sequence_parallel = False


@contextlib.contextmanager
def _unmarked_norms() -> Iterator[None]:
    # Of the layers, and the last one.
    with (
        replaced(megatron_config, "Norm", _UnmarkedNorm),
        replaced(model, "Norm", _UnmarkedNorm),
    ):
        yield


def _dividing_schedule() -> Callable[..., Any]:
    """Megatron's schedule with a loss function that returns two values."""
    run = pipeline_schedule()

    def wrapped(*, forward_step_func: Callable[..., Any], **options: Any) -> Any:
        def forward(batches: Any, ddp: Any) -> tuple[Tensor, Any]:
            out, loss = forward_step_func(batches, ddp)

            def two(logp_t: Tensor) -> tuple[Tensor, Any]:
                found, _, rest = loss(logp_t)
                return found, rest

            return out, two

        return run(forward_step_func=forward, **options)

    return wrapped


def pipeline_schedule() -> Callable[..., Any]:
    from megatron.core.pipeline_parallel import get_forward_backward_func

    found: Callable[..., Any] = get_forward_backward_func()
    return found


@contextlib.contextmanager
def _gathered_late() -> Iterator[None]:
    ddp = functools.partial(DistributedDataParallelConfig, overlap_param_gather=True)
    adam = functools.partial(OptimizerConfig, overlap_param_gather=True)
    with (
        replaced(model, "DistributedDataParallelConfig", ddp),
        replaced(optimizer, "OptimizerConfig", adam),
    ):
        yield


def whole_experts(layout: ParallelLayout) -> ParallelLayout:
    """A layout that `parallel_layout.plan` refuses: no expert parallelism, another split."""
    return dataclasses.replace(layout, expert_tensor=1)


TRAPS: dict[str, tuple[Callable[[], Trap], str]] = {
    "norms that aren't marked as sequence parallel": (
        _unmarked_norms,
        "grad_rel",
    ),
    "weights that aren't marked as tensor parallel": (
        lambda: replaced(model, "_mark_tensor_parallel", lambda gpt: None),
        "grad_norm",
    ),
    "whole experts without expert parallelism": (contextlib.nullcontext, "grad_rel"),
    "a loss function of two values": (
        lambda: replaced(pipeline, "get_forward_backward_func", _dividing_schedule),
        "grad_rel",
    ),
    "parameters that are gathered late": (_gathered_late, "parameters"),
}
"""How to make each mistake, and the figure that must show it."""
FORCED = "whole experts without expert parallelism"
LATE = "parameters that are gathered late"
