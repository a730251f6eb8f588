"""What each rank of a case of `layouts.py` does: train through the trainer's own steps, compare.

A rank compares what it holds with the one-process run, element by element: its log-probabilities,
its reduced gradients, and its parameters after the steps, which also shows replicas that drift.
"""

import contextlib
import functools
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from megatron.core.distributed import DistributedDataParallelConfig, finalize_model_grads
from safetensors.torch import load_file, save_file
from torch import Tensor

from sea_api.v1alpha1.stages import RLStage
from sea_api.v1alpha1.trainer_memory import Recomputation
from sea_runtime.parallel import hf_config, weight_map
from sea_runtime.parallel.hf_config import ModelShape
from sea_runtime.parallel.parallel_layout import Place
from sea_runtime.trainer import hf_weights, pipeline, rl, sft
from sea_runtime.trainer import model as models
from sea_runtime.trainer.device import device_names
from sea_runtime.trainer.model import Model
from sea_runtime.trainer.optimizer import AdamW, Optimizer
from sea_runtime.trainer.packed_row import Choices, MicrobatchTensors
from sea_runtime.trainer.process_groups import ControlGroup
from sea_runtime.trainer.rl_batch import RLBatch
from sea_runtime.trainer.sft_data import Dialogues
from sea_runtime.trainer.stage_trainer import StageTrainer

RATE = 5e-5
"""Learning rate. A gradient at the noise's level may have another sign, and Adam makes a step of up
to this size of it: `TOLERANCE` bounds parameters that differ by a fifth of a step."""
ROW_TOKENS = 100
"""Shorter than one of the dialogues, which gets a row of its own."""
SFT_STEPS = 3
PROMPT = 18
"""Tokens that the first three groups' trajectories share."""
TEMPERATURE = 0.7
Metrics = dict[str, float]


def write_model(config: dict[str, Any], folder: Path) -> ModelShape:
    """A random model in `folder`, with the tensors that its `config` implies."""
    shape = hf_config.parse(json.dumps(config))
    generator = torch.Generator().manual_seed(7)

    def tensor(name: str, size: tuple[int, ...]) -> Tensor:
        found = torch.randn(size, generator=generator)
        return 1.0 + 0.1 * found if name.endswith("norm.weight") else 0.05 * found

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {n: tensor(n, size) for n, size in weight_map.tensor_shapes(shape).items()}
    save_file(tensors, folder / "model.safetensors")
    return shape


@dataclass
class Run:
    """Results of one case on one rank; the one-process run's are the reference."""

    metrics: list[Metrics] = field(default_factory=list)
    """Of each SFT step, then of the RL step; the same on every rank."""
    grad_rel_diff: float = 0.0
    """Largest |gradient - reference| over the largest |reference| of the tensor."""
    parameter_diff: float = 0.0
    logp_diff: float = 0.0
    published: list[str] = field(default_factory=list)


def dialogues(vocabulary: int) -> Dialogues:
    numbers = np.random.default_rng(0)
    sizes = (50, 70, 33, 90, 20, 61, 110, 7)
    tokens = [numbers.integers(0, vocabulary, size, np.int32) for size in sizes]
    masks = [(numbers.random(size) < 0.6).astype(np.uint8) for size in sizes]
    return Dialogues(tokens, masks, tuple(range(len(sizes))))


def choices(shape: ModelShape, layers: range) -> Choices | None:
    """Random experts for the tokens of the first six dialogues, of a rank's layers; the others' are
    chosen.

    Both trajectories of a group have the same for their prompt: some layouts compute it once.
    """
    if not shape.experts:
        return None
    numbers = np.random.default_rng(2)
    found: list[np.ndarray] = []
    for one in dialogues(shape.vocabulary).tokens[:6]:
        scores = numbers.random((len(one), shape.layers, shape.experts))
        chosen = np.argsort(scores, axis=-1)[..., : shape.experts_per_token].astype(np.uint8)
        if len(found) % 2:
            chosen[:PROMPT] = found[-1][:PROMPT]
        found.append(chosen)
    return [*(one[:, layers.start : layers.stop] for one in found), None, None]


def rollouts(shape: ModelShape, layers: range) -> RLBatch:
    """Two minibatches' worth of groups, off-policy."""
    found = dialogues(shape.vocabulary)
    numbers = np.random.default_rng(1)
    # Both trajectories of a group begin with its prompt, which rows share but for context ranks.
    for index in range(0, 6, 2):
        found.tokens[index + 1][:PROMPT] = found.tokens[index][:PROMPT]
    for mask in found.masks[:6]:
        mask[:PROMPT] = 0
    behavior = [numbers.normal(-6.0, 0.5, len(one)).astype(np.float32) for one in found.tokens]
    versions = [np.where(mask > 0, 0, -1).astype(np.int32) for mask in found.masks]
    return RLBatch(
        tokens=found.tokens,
        masks=found.masks,
        behavior=behavior,
        versions=versions,
        group_of=[0, 0, 1, 1, 2, 2, 3, 3],
        advantages=[1.0, -1.0] * 4,
        groups=4,
        mean_reward=0.5,
        dropped_groups=0,
        crc32=0,
        choices=choices(shape, layers),
    )


def build(
    shape: ModelShape, place: Place, folder: Path, recompute: Recomputation = Recomputation.NONE
) -> Model:
    model = models.build(shape, place, torch.float32, ROW_TOKENS, recompute)
    hf_weights.load(model, folder)
    return model


def stage_of(model: Model) -> StageTrainer:
    """A stage without task, coordinator and store: what a step needs."""
    rank, world = model.place.rank, model.layout.world_size
    control = ControlGroup(rank, world, dist.new_group(backend="gloo"))
    context: Any = SimpleNamespace(control=control, status=SimpleNamespace(alive=lambda: None))
    nothing: dict[str, Any] = dict.fromkeys(
        ("task", "spec", "settings", "initial", "saver", "publisher", "buffers")
    )
    return StageTrainer(context=context, model=model, optimizer=Optimizer(model, RATE), **nothing)


def sft_steps(stage: StageTrainer, count: int, chosen: Sequence[int] = range(8)) -> list[Metrics]:
    data = dialogues(stage.model.shape.vocabulary)
    return [sft._train(stage, data, list(chosen), 0.1, RATE, AdamW()) for _ in range(count)]


def rl_step(stage: StageTrainer) -> Metrics:
    block = RLStage(minibatches=2, temperature=TEMPERATURE, learning_rate=RATE)
    return rl._train(stage, block, rollouts(stage.model.shape, stage.model.place.layers), 0, RATE)


def train(
    shape: ModelShape, place: Place, folder: Path, reference: Path | None, *, brief: bool = False
) -> Run:
    """Gradients of one batch, three SFT steps, one RL step with two minibatches, publishing.

    Args:
        reference: files of the one-process run; None makes them, in `folder`.
        brief: a single SFT step, which is enough to show a mistake.
    """
    run = Run()
    gradients, logp = gradients_of(shape, place, folder)
    model = build(shape, place, folder)
    stage = stage_of(model)
    run.metrics = sft_steps(stage, 1 if brief else SFT_STEPS)
    if not brief:
        # The last dialogue alone: fewer rows than replicas, and fewer tokens than 2 x context 4.
        run.metrics += [*sft_steps(stage, 1, [7]), rl_step(stage)]
    published = dict(hf_weights.iter_published(model))
    run.published = list(published)
    if reference is None:
        save_file({k: v.contiguous() for k, v in published.items()}, folder / "parameters")
        save_file(held(model, gradients), folder / "gradients")
        save_file({str(k): torch.from_numpy(v) for k, v in logp.items()}, folder / "logp")
        return run
    run.grad_rel_diff = difference(model, gradients, load_file(reference / "gradients"), True)
    parameters = {name: one.detach() for name, one in hf_weights.live_parameters(model).items()}
    wanted = load_file(reference / "parameters")
    run.parameter_diff = difference(model, parameters, wanted, False)
    for name, tensor in published.items():
        run.parameter_diff = max(run.parameter_diff, float((tensor - wanted[name]).abs().max()))
    known = load_file(reference / "logp")
    for index, values in logp.items():
        here = values != 0  # a context rank has a part of each sequence
        gap = np.abs(values - known[str(index)].numpy())[here]
        run.logp_diff = max(run.logp_diff, float(gap.max(initial=0.0)))
    return run


def gradients_of(
    shape: ModelShape, place: Place, folder: Path
) -> tuple[dict[str, Tensor], dict[int, np.ndarray]]:
    """Reduced gradients of the rank's parameters, and its log-probabilities by sequence.

    Experts are replayed. Several ranks recompute activations, which must replay them again.
    """
    recompute = Recomputation.NONE
    if place.layout.world_size > 1:
        recompute = Recomputation.FULL if place.layout.pipeline > 1 else Recomputation.SELECTIVE
    # Without the distributed optimizer every rank has the whole sum, not its share of it.
    whole = functools.partial(_ddp_config, use_distributed_optimizer=False)
    with replaced(models, "DistributedDataParallelConfig", whole):
        model = build(shape, place, folder, recompute)
    data = dialogues(shape.vocabulary)
    logp: dict[int, np.ndarray] = {}

    def objective(microbatch: MicrobatchTensors, logp_t: Tensor, _: Tensor) -> Tensor:
        logp.update(microbatch.split(logp_t.detach().numpy()))
        weight_t = microbatch.per_token(data.masks, np.float32)
        return -(weight_t * logp_t).sum() / 500

    model.ddp.zero_grad_buffer()
    every = [np.ones(len(one)) for one in data.tokens]
    plan = model.plan(data.tokens, range(8), every)
    pipeline.train(
        model,
        plan,
        data.tokens,
        every,
        objective,
        lambda: None,
        TEMPERATURE,
        choices=choices(shape, place.layers),
    )
    with device_names():
        finalize_model_grads([model.ddp])
    found = hf_weights.live_parameters(model)
    return {name: one.main_grad.clone() for name, one in found.items()}, logp


def _ddp_config(**options: Any) -> DistributedDataParallelConfig:
    return DistributedDataParallelConfig(**(options | {"use_distributed_optimizer": False}))


@contextlib.contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def held(model: Model, values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Hugging Face tensors from one rank that holds everything."""
    found = {n: torch.zeros(s) for n, s in weight_map.tensor_shapes(model.shape).items()}
    for block in weight_map.blocks(model.shape, model.place):
        found[block.tensor][block.source] = values[block.parameter][block.target]
    return found


def difference(
    model: Model, values: dict[str, Tensor], wanted: dict[str, Tensor], relative: bool
) -> float:
    """Largest difference of what the rank holds; relative to each tensor's largest value."""
    worst = 0.0
    for block in weight_map.blocks(model.shape, model.place):
        whole = wanted[block.tensor]
        gap = float((values[block.parameter][block.target] - whole[block.source]).abs().max())
        scale = max(float(whole.abs().max()), 1e-12) if relative else 1.0
        worst = max(worst, gap / scale)
    return math.inf if math.isnan(worst) else worst
