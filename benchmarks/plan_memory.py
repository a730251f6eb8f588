"""What real training steps hold on the CPU, next to what the planner says.

Ranks are forked from this process (`layout_ranks.py`). Weights, gradients and optimizer states are
counted from the tensors that exist; the rest is the peak of the resident memory over a step, above
what the process held before the model was built.
"""

import ctypes
import gc
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import layout_ranks
import layout_training
import numpy as np
import torch
from torch import Tensor

from sea_api.v1alpha1.roles import TrainerParallelism
from sea_api.v1alpha1.stages import RLStage
from sea_api.v1alpha1.trainer_memory import Recomputation
from sea_runtime.parallel import parallel_layout
from sea_runtime.parallel.hf_config import ModelShape
from sea_runtime.parallel.parallel_layout import Place
from sea_runtime.planner import trainer_memory
from sea_runtime.planner.trainer_memory import TrainerSetup
from sea_runtime.trainer import model as models
from sea_runtime.trainer import pipeline, rl
from sea_runtime.trainer.model import Model
from sea_runtime.trainer.optimizer import Optimizer
from sea_runtime.trainer.packed_row import MicrobatchTensors
from sea_runtime.trainer.rl_batch import RLBatch
from sea_runtime.trainer.stage_trainer import StageTrainer

ROW_TOKENS = 2048
ROWS = 3
"""Rows per data-parallel rank of an SFT step: more than a pipeline of two keeps."""
MINIBATCH_ROWS = 2
EXPERTS = ModelShape(6, 256, 8, 2, 32, 512, 16, 4, 256, True, 4096, False, 1e4, 1e-6, ROW_TOKENS)
DENSE = ModelShape(6, 384, 8, 2, 48, 1536, 0, 0, 0, True, 4096, True, 1e4, 1e-6, ROW_TOKENS)


@dataclass(frozen=True)
class Case:
    name: str
    shape: ModelShape
    world: int
    recomputation: Recomputation
    ways: dict[str, int]
    rl: bool = False
    """An RL step: proximal log-probabilities, then two minibatches; otherwise an SFT step."""

    @property
    def rows(self) -> int:
        """Rows per update and data-parallel rank."""
        return MINIBATCH_ROWS if self.rl else ROWS


NONE, SELECTIVE, FULL = Recomputation.NONE, Recomputation.SELECTIVE, Recomputation.FULL
CASES = (
    Case("experts, one process", EXPERTS, 1, NONE, {}),
    Case("experts, selective", EXPERTS, 1, SELECTIVE, {}),
    Case("experts, full", EXPERTS, 1, FULL, {}),
    Case("dense, one process", DENSE, 1, NONE, {}),
    Case("dense, full", DENSE, 1, FULL, {}),
    Case("experts over two", EXPERTS, 2, NONE, {"expert": 2}),
    Case("tensor 2, expert 2", EXPERTS, 2, NONE, {"tensor": 2, "expert": 2}),
    Case("pipeline 2", EXPERTS, 2, NONE, {"pipeline": 2}),
    Case("RL, experts, one process", EXPERTS, 1, NONE, {}, rl=True),
    Case("RL, tensor 2, expert 2", EXPERTS, 2, NONE, {"tensor": 2, "expert": 2}, rl=True),
    Case("RL, dense, pipeline 2", DENSE, 2, NONE, {"pipeline": 2}, rl=True),
    Case("RL, dense, tensor 2", DENSE, 2, NONE, {"tensor": 2}, rl=True),
    Case("RL, experts, pipeline 2", EXPERTS, 2, NONE, {"pipeline": 2}, rl=True),
    Case("RL, experts over two", EXPERTS, 2, NONE, {"expert": 2}, rl=True),
)


@dataclass(frozen=True)
class Held:
    """Bytes of the rank that held most."""

    stored: int
    """Weights, gradients, optimizer states, as tensors."""
    peak: int
    """Resident, over a step."""


@dataclass(frozen=True)
class Row:
    case: Case
    measured: Held
    stored: float
    """Predicted."""
    peak: float
    """Predicted."""

    @property
    def error(self) -> float:
        """Error of the predicted peak, as a share of the measured one."""
        return self.peak / self.measured.peak - 1.0


def measure(cases: Sequence[Case] = CASES) -> list[Row]:
    return [_row(case) for case in cases]


def _row(case: Case) -> Row:
    layout = parallel_layout.plan(TrainerParallelism(**case.ways), case.shape, case.world)
    found: list[Held] = layout_ranks.run(layout, lambda place: _held(case, place))
    setup = TrainerSetup(
        case.shape, layout, 4, ROW_TOKENS, case.rows, recomputation=case.recomputation, gpu=False
    )
    rank = max(range(case.world), key=lambda i: found[i].peak)
    items = trainer_memory.items(setup, layout.place(rank).stage)
    stored = trainer_memory.total(items[:3])
    return Row(case, found[rank], stored, trainer_memory.total(items))


def _held(case: Case, place: Place) -> Held:
    """On one rank: builds the model, makes two steps, and looks during the second one."""
    # Every tensor in a mapping of its own, which goes back to the system when it is freed: the
    # resident memory is then that of the tensors that exist. glibc's M_MMAP_THRESHOLD is -3.
    ctypes.CDLL(None).mallopt(-3, 1 << 16)
    gc.collect()
    before = _resident("VmRSS")
    model = models.build(case.shape, place, torch.float32, ROW_TOKENS, case.recomputation)
    with torch.no_grad():
        for parameter in model.gpt.parameters():
            parameter.normal_(0.0, 0.02)
    stage = layout_training.stage_of(model)
    step = _rl_step if case.rl else _sft_step
    # The first step makes the optimizer's states and the communicators' buffers.
    step(stage)
    gc.collect()
    # Linux: 5 resets the peak of the resident memory to what is resident now.
    Path("/proc/self/clear_refs").write_text("5")
    step(stage)
    return Held(_stored(model, stage.optimizer), _resident("VmHWM") - before)


def _tokens(model: Model, count: int) -> list[Any]:
    """Sequences that fill a row each."""
    numbers = np.random.default_rng(0)
    return [numbers.integers(0, model.shape.vocabulary, ROW_TOKENS) for _ in range(count)]


def _rl_step(stage: StageTrainer) -> None:
    """Every token is generated."""
    groups = 2 * MINIBATCH_ROWS * stage.model.layout.data
    tokens = _tokens(stage.model, groups)
    batch = RLBatch(
        tokens=tokens,
        masks=[np.ones(ROW_TOKENS, np.uint8) for _ in tokens],
        behavior=[np.full(ROW_TOKENS, -8.0, np.float32) for _ in tokens],
        versions=[np.zeros(ROW_TOKENS, np.int32) for _ in tokens],
        group_of=list(range(groups)),
        advantages=[1.0] * groups,
        groups=groups,
        mean_reward=0.5,
        dropped_groups=0,
        crc32=0,
    )
    rl._train(stage, RLStage(minibatches=2, learning_rate=1e-4), batch, 0, 1e-4)


def _sft_step(stage: StageTrainer) -> None:
    model, optimizer = stage.model, stage.optimizer
    tokens = _tokens(model, ROWS * model.layout.data)
    count = len(tokens)
    every = [np.ones(ROW_TOKENS, np.uint8) for _ in tokens]
    plan = model.plan(tokens, range(count), every)
    optimizer.zero()
    pipeline.train(model, plan, tokens, every, _loss, lambda: None)
    optimizer.step(1e-4)


def _loss(_: MicrobatchTensors, logp_t: Tensor, __: Tensor) -> Tensor:
    return -logp_t.sum() / ROW_TOKENS


def _stored(model: Model, optimizer: Optimizer) -> int:
    buffers = [*model.ddp.buffers, *model.ddp.expert_parallel_buffers]
    found = sum(p.numel() * p.element_size() for p in model.gpt.parameters())
    found += sum(buffer.grad_data.nbytes for buffer in buffers)
    for part in optimizer.megatron.chained_optimizers:
        for state in part.optimizer.state.values():
            found += sum(value.nbytes for value in state.values() if torch.is_tensor(value))
    return found


def _resident(field: str) -> int:
    """Bytes, of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status of process {os.getpid()} has no {field}")
