"""What to change if a job doesn't fit, and how to split its GPUs. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

from sea_api.v1alpha1.roles import TrainerParallelism
from sea_runtime.parallel import parallel_layout
from sea_runtime.parallel.hf_config import ModelShape
from sea_runtime.parallel.parallel_layout import LayoutError, ParallelLayout
from sea_runtime.planner import speed, trainer_memory
from sea_runtime.planner.engine_memory import EngineSetup, kv_cache
from sea_runtime.planner.gpus import Gpu
from sea_runtime.planner.trainer_memory import TrainerSetup
from sea_runtime.planner.workload import Workload

MAX_TENSOR = 8
"""Tensor and expert groups within one node, whose GPUs talk over NVLink."""
TENSOR_COST = 0.04
"""Of a step's time, for each doubling of tensor parallelism: assumed."""
EXPERT_TENSOR_COST = 0.08
"""The same for experts that are split, whose matrices are narrow already: assumed."""
MOST_GPUS = 512
"""Of a trainer, in a search for what fits."""
MEMORY_SHARE = 0.95
"""Of a GPU's memory that a proposal may need: a plan errs by some percent."""


@dataclass(frozen=True)
class Candidate:
    """A layout that fits."""

    setup: TrainerSetup
    nbytes: float
    """Bytes on the fullest GPU."""
    seconds: float
    """Seconds of a training step."""

    @property
    def layout(self) -> ParallelLayout:
        return self.setup.layout


def describe(layout: ParallelLayout) -> str:
    """The fields of `trainer.parallelism` that aren't 1, as YAML."""
    sizes = {
        "tensor": layout.tensor,
        "pipeline": layout.pipeline,
        "context": layout.context,
        "expert": layout.expert,
        "expertTensor": layout.expert_tensor,
    }
    named = [f"{name}: {size}" for name, size in sizes.items() if size > 1]
    return "{" + ", ".join(named) + "}"


def layouts(shape: ModelShape, world: int, within_node: int) -> Iterator[ParallelLayout]:
    """All that the model allows, tensor groups within a node, without context parallelism.

    With experts, expert-tensor is 1 or, where experts aren't spread, the same as tensor.
    """
    ways = [size for size in (1, 2, 4, 8, 16, 32, 64, 128) if size <= world]
    stages = [size for size in range(1, min(world, shape.layers) + 1) if world % size == 0]
    experts = ways if shape.experts else [1]
    for tensor, pipeline, expert in product(ways, stages, experts):
        if tensor > min(MAX_TENSOR, within_node):
            continue
        requested = TrainerParallelism.model_construct(
            tensor=tensor,
            pipeline=pipeline,
            context=1,
            expert=expert,
            expert_tensor=None,
        )
        try:
            yield parallel_layout.plan(requested, shape, world)
        except LayoutError:
            continue


def fitting(
    setup: TrainerSetup,
    gpu: Gpu,
    workload: Workload,
    world: int,
    within_node: int,
    minibatches: int,
) -> list[Candidate]:
    """Layouts of `world` GPUs that fit, fastest first."""
    found = []
    for layout in layouts(setup.shape, world, within_node):
        one = candidate(replace(setup, layout=layout), gpu, workload, minibatches)
        if one is not None:
            found.append(one)
    return sorted(found, key=lambda one: one.seconds)


def smallest(
    setup: TrainerSetup, gpu: Gpu, workload: Workload, pod: int, minibatches: int
) -> Candidate | None:
    """The best layout of the fewest GPUs that hold the training: 1, 2, 3, 4, 6, 8, 12, ... pods of
    `pod` GPUs. None if `MOST_GPUS` don't.
    """
    for pods in (1, *(ways for half in range(1, 10) for ways in (1 << half, 3 << half - 1))):
        world = pods * pod
        if world > MOST_GPUS:
            break
        if found := fitting(setup, gpu, workload, world, pod, minibatches):
            return found[0]
    return None


def candidate(
    setup: TrainerSetup, gpu: Gpu, workload: Workload, minibatches: int
) -> Candidate | None:
    """The layout with the least recomputation that fits; None if none does."""
    layout = setup.layout
    rows = speed.microbatches(workload, layout, setup.row_tokens)
    capacity = MEMORY_SHARE * gpu.memory
    chosen = trainer_memory.choose(replace(setup, microbatches=rows), capacity)
    needed = trainer_memory.total(trainer_memory.items(chosen, trainer_memory.peak_stage(chosen)))
    if needed > capacity:
        return None
    time = speed.training(
        setup.shape,
        layout,
        gpu,
        workload,
        row_tokens=setup.row_tokens,
        recomputation=chosen.recomputation,
        minibatches=minibatches,
    )
    cost = TENSOR_COST * _doublings(layout.tensor)
    if setup.shape.experts:
        cost += EXPERT_TENSOR_COST * _doublings(layout.expert_tensor)
    return Candidate(chosen, needed, time.seconds * (1 + cost))


def _doublings(ways: int) -> int:
    return ways.bit_length() - 1


@dataclass(frozen=True)
class Split:
    """GPUs of training and generation, and what a step then takes."""

    trainer: int
    rollout: int
    train_s: float
    generate_s: float
    layout: ParallelLayout

    @property
    def step_s(self) -> float:
        """Both at once: the slower one decides."""
        return max(self.train_s, self.generate_s)


def splits(
    total: int,
    pod: int,
    candidates: "dict[int, Candidate]",
    generate_s: "dict[int, float]",
) -> list[Split]:
    """All splits of `total` GPUs in pods of `pod`, fastest first.

    Args:
        candidates: the best layout by number of trainer GPUs.
        generate_s: seconds of a step's generation by number of rollout GPUs.
    """
    found = []
    for trainer in range(pod, total, pod):
        best, generated = candidates.get(trainer), generate_s.get(total - trainer)
        if best is not None and generated is not None:
            layout = best.layout
            found.append(Split(trainer, total - trainer, best.seconds, generated, layout))
    return sorted(found, key=lambda split: split.step_s)


def generation_seconds(
    engine: EngineSetup, gpu: Gpu, workload: Workload, gpus: int, concurrent: int
) -> float | None:
    """Seconds to generate a step's trajectories on `gpus` GPUs; None if no engine fits.

    Args:
        concurrent: episodes at one time over all engines.
    """
    engines = gpus // engine.tensor
    if engines < 1:
        return None
    asked = max(1, -(-concurrent // engines))
    cache = kv_cache(engine, gpu.memory, workload.sequence_tokens, asked)
    # A sequence holds half of its length on average while it grows.
    room = 2 * cache.sequences_mean
    if room < 1:
        return None
    episodes = min(float(cache.asked), room)
    rate = engines * speed.generation(engine, gpu, workload, episodes).episodes_per_s
    return workload.trajectories / rate
