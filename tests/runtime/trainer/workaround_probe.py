"""Runs a tiny training with one of the `megatron_workarounds` left out and prints what fails.

A program, not a module: `python workaround_probe.py FOLDER` imports the libraries once and forks a
child per case. Its last line is a JSON object {case: error, or "" for success}. Needs
CUDA_VISIBLE_DEVICES="" and PYTORCH_NVML_BASED_CUDA_CHECK=1: otherwise asking for a device in the
parent makes torch refuse one in every fork, which hides the driver's own error.
"""

import contextlib
import functools
import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
import torch.distributed as dist

from sea_api.v1alpha1.roles import TrainerParallelism
from sea_api.v1alpha1.trainer_memory import Recomputation
from sea_runtime.parallel import parallel_layout
from sea_runtime.parallel.parallel_layout import Place
from sea_runtime.trainer import megatron_workarounds, model, pipeline, process_groups
from sea_runtime.trainer.checkpoint import state as states
from sea_runtime.trainer.checkpoint.state import RankState
from sea_runtime.trainer.megatron_workarounds import cuda_names
from sea_runtime.trainer.optimizer import Optimizer
from sea_runtime.trainer.packed_row import MicrobatchTensors
from sea_testing.models import MOE_CONFIG, moe_shape

ALONE = TrainerParallelism()
TENSOR = TrainerParallelism(tensor=2)
PIPELINE = TrainerParallelism(pipeline=2)
LAYOUTS = {
    "all applied, tensor 2": TENSOR,
    "all applied, pipeline 2": PIPELINE,
    "rng_fork": TENSOR,
    "pipeline_synchronize": PIPELINE,
    "cuda_names: cuda()": PIPELINE,
}
"""Cases that need two ranks; the others have one."""


def build(place: Place) -> tuple[model.Model, Optimizer]:
    # With recomputation, for its workaround.
    built = model.build(
        moe_shape(), place, torch.float32, row_tokens=64, recompute=Recomputation.SELECTIVE
    )
    # By name: what every rank has a copy of must be equal.
    for name, parameter in built.gpt.named_parameters():
        generator = torch.Generator().manual_seed(sum(name.encode()))
        torch.nn.init.normal_(parameter.data, std=0.1, generator=generator)
    return built, Optimizer(built, 1e-2)


def step(built: model.Model, optimizer: Optimizer) -> float:
    """The loss, on the last stage."""
    tokens = [np.arange(16), np.arange(16) + 16]
    every = [np.ones(16)] * 2
    optimizer.zero()
    losses: list[float] = []

    def objective(_: MicrobatchTensors, logp_t: torch.Tensor, __: torch.Tensor) -> torch.Tensor:
        losses.append(float(-logp_t.detach().sum()))
        return -logp_t.sum() / 30

    pipeline.train(built, built.plan(tokens, [0, 1], every), tokens, every, objective, lambda: None)
    optimizer.step(1e-2)
    return sum(losses)


def train_save_load(place: Place) -> None:
    """Two steps, a save, two more; a new model resumes and must repeat the last two losses."""
    built, optimizer = build(place)
    for _ in range(2):
        step(built, optimizer)
    state = RankState(built, optimizer)
    copy = torch.zeros(state.nbytes, dtype=torch.uint8)
    state.copy(copy)
    steps = state.index().optimizer_step
    wanted = [step(built, optimizer) for _ in range(2)]
    built, optimizer = build(place)
    states.prepare_load(optimizer)
    load(RankState(built, optimizer), copy, steps)
    got = [step(built, optimizer) for _ in range(2)]
    if any(abs(a - b) > 1e-4 for a, b in zip(got, wanted, strict=True)):
        raise RuntimeError(f"the resumed losses {got} differ from {wanted}")


def load(state: RankState, copy: torch.Tensor, steps: int) -> None:
    memory = state.memory()
    for section in state.sections:
        at = section.offset
        for run in state.runs:
            own = copy[at : at + 4 * run.elements]
            memory[run.parameter][section.kind].copy_(own.view(torch.float32))
            at += len(own)
    state.finish_load(memory, steps, torch.get_rng_state().numpy().tobytes())


def leave_no_process() -> None:
    left = psutil.Process().children(recursive=True)
    for process in left:
        process.kill()
    if left:
        raise RuntimeError(f"the training left {len(left)} processes running")


class PartOfCudaNames(cuda_names.CudaNames):
    """The mode without its effect on calls that `left_out` selects."""

    def __init__(self, left_out: Callable[[Any, dict[str, Any]], bool]) -> None:
        super().__init__()
        self.left_out = left_out

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.left_out(func, kwargs or {}):
            return func(*args, **(kwargs or {}))
        return super().__torch_function__(func, types, args, kwargs)


TIED = ("all applied, pipeline 2", "cuda_names: cuda()")
"""Cases with tied embeddings, of which the last stage has a copy."""
CUDA_NAMES: dict[str, Callable[[Any, dict[str, Any]], bool]] = {
    "cuda_names: device": lambda func, options: "device" in options,
    "cuda_names: cuda()": lambda func, options: func is torch.Tensor.cuda,
    "cuda_names: type()": lambda func, options: func is torch.Tensor.type,
}
CASES = list(
    dict.fromkeys(["all applied", *LAYOUTS, *megatron_workarounds.WORKAROUNDS, *CUDA_NAMES])
)


def leave_out(case: str) -> None:
    """Applies all workarounds but the case's."""
    megatron_workarounds.apply(cuda=False, te=False, without=case)
    # In the case's own process.
    MOE_CONFIG["tie_word_embeddings"] = case in TIED
    if case in CUDA_NAMES:
        part = functools.partial(PartOfCudaNames, CUDA_NAMES[case])
        cuda_names.cuda_names = part


def run(case: str, place: Place, folder: Path) -> str:
    """The error that the case ends with on this rank."""
    try:
        leave_out(case)
        world = place.layout.world_size
        store = dist.FileStore(str(folder / "store"), world)
        dist.init_process_group("gloo", store=store, rank=place.rank, world_size=world)
        process_groups.build_model_parallel_groups(place.layout, 60.0)
        train_save_load(place)
        leave_no_process()
    except BaseException as error:
        return f"{type(error).__name__}: {error}\n{traceback.format_exc()[-1500:]}\n"
    finally:
        with contextlib.suppress(RuntimeError):  # a process that is left would hold our output open
            leave_no_process()
    return ""


def in_children(case: str, folder: Path) -> str:
    """The errors of all ranks; a child per rank."""
    folder.mkdir()
    requested = LAYOUTS.get(case, ALONE)
    layout = parallel_layout.plan(requested, moe_shape(), 2 if case in LAYOUTS else 1)
    children = {}
    for place in layout.places:
        child = os.fork()
        if child == 0:
            (folder / f"answer-{place.rank}").write_text(run(case, place, folder))
            os._exit(0)
        children[child] = folder / f"answer-{place.rank}"
    found = ""
    for child, answer in children.items():
        _, status = os.waitpid(child, 0)
        found += answer.read_text() if status == 0 else f"ended with wait status {status}\n"
    return found


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    found = {case: in_children(case, folder / str(number)) for number, case in enumerate(CASES)}
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main()
