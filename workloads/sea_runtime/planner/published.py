"""What others measured, next to what this planner predicts for the same set-up. Pure.

`make bench-plan` prints the rows, `docs/performance.md` shows them, and a test bounds the ratios:
the formulas of `speed.py`, `transfers.py` and `simulation.py` are wrong by a known amount. What a
source doesn't say is assumed and named in the row.
"""

from dataclasses import dataclass, replace

from sea_api.v1alpha1.trainer_memory import Recomputation
from sea_runtime.parallel.hf_config import ModelShape
from sea_runtime.parallel.parallel_layout import ParallelLayout
from sea_runtime.planner import builtin_models, gpus, pipelines, simulation, speed, transfers
from sea_runtime.planner.engine_memory import EngineSetup
from sea_runtime.planner.gpus import Gpu
from sea_runtime.planner.simulated_pipeline import Pipeline
from sea_runtime.planner.transfers import Fleet
from sea_runtime.planner.workload import Workload

H800 = replace(gpus.H100, name="H800")
H20 = Gpu("H20", int(95.6 * gpus.GIB), 148e12, 4.0e12, 50e9, 50e9)

QWEN25_1B5 = ModelShape(28, 1536, 12, 2, 128, 8960, 0, 0, 0, True, 151936, True, 1e6, 1e-6, 32768)
QWEN25_7B = ModelShape(28, 3584, 28, 4, 128, 18944, 0, 0, 0, True, 152064, False, 1e6, 1e-6, 32768)
STEPS = 8
"""Simulated; the first quarter isn't counted."""


@dataclass(frozen=True)
class Comparison:
    """One row."""

    system: str
    what: str
    published_s: float
    predicted_s: float
    assumed: str

    @property
    def ratio(self) -> float:
        """Predicted over published."""
        return self.predicted_s / self.published_s


def comparisons() -> list[Comparison]:
    """All rows; takes a few seconds."""
    return [*updates(), *steps()]


def updates() -> list[Comparison]:
    """Weight updates of Qwen3-235B in bf16."""
    shape = builtin_models.of_source("Qwen3-235B-A22B")
    assert shape is not None
    eight = Fleet(trainers=64, engines=8, tensor=8)
    ours = transfers.update(shape, 2, eight, gpus.H100)
    loading = transfers.load_seconds(shape, 2, 8, H800)
    return [
        Comparison(
            "miles P2P, 8 + 8 nodes of H100",
            "weight update",
            3.16,
            ours.seconds,
            "engines of 8 GPUs; slices over the network to the host, checksums, then to the GPU",
        ),
        Comparison(
            "checkpoint-engine, 8 x H800",
            "weight update, broadcast",
            6.2,
            loading,
            "loading bounds it: 36,945 tensors through load_weights, then from the host to the GPU",
        ),
    ]


def steps() -> list[Comparison]:
    """RL steps of AReaL and verl, synchronous on all GPUs and asynchronous on a split of them."""
    # An eighth of the batch on an eighth of the GPUs: the same times, simulated faster.
    areal = Workload(64, 16, 27_648, 6_000, 0.95, spread=0.9, turns=1, turn_seconds=0.01)
    verl = Workload(64, 16, 28_672, 1_500, 0.9, spread=1.1, turns=1, turn_seconds=0.01)
    length = "mean length {:,} tokens, log-normal"
    found = []
    # verl's asynchronous mode takes the engines' log-probabilities for proximal ones.
    for system, shape, gpu, work, split, proximal, published in (
        ("AReaL, 1.5B, 128 H800", QWEN25_1B5, H800, areal, (12, 4), True, (147.6, 53.3)),
        ("verl, 7B, 128 H20", QWEN25_7B, H20, verl, (8, 8), False, (356.3, 150.6)),
    ):
        both = synchronous_on_all(shape, gpu, work, sum(split))
        apart = asynchronous(shape, gpu, work, *split, proximal=proximal)
        assumed = length.format(round(work.mean_tokens))
        for what, pipeline, seconds in (
            ("step, synchronous", both, published[0]),
            (f"step, asynchronous {8 * split[0]} + {8 * split[1]}", apart, published[1]),
        ):
            result = simulation.simulate(pipeline, STEPS)
            found.append(Comparison(system, what, seconds, result.step_seconds, assumed))
    return found


def _training(shape: ModelShape, gpu: Gpu, work: Workload, world: int, *, proximal: bool) -> float:
    """Pure data parallelism; proximal log-probabilities are a pass of their own."""
    layout = ParallelLayout(world, 1, 1, 1, 1, 1, (shape.layers,))
    time = speed.training(
        shape,
        layout,
        gpu,
        work,
        row_tokens=work.context,
        recomputation=Recomputation.NONE,
        minibatches=4 if proximal else 1,
    )
    return time.seconds


def synchronous_on_all(shape: ModelShape, gpu: Gpu, work: Workload, total: int) -> Pipeline:
    """All GPUs generate a batch, then all of them train on it."""
    seconds = _training(shape, gpu, work, total, proximal=True)
    return _pipeline(shape, gpu, work, total, seconds, staleness=0, shared=True)


def asynchronous(
    shape: ModelShape, gpu: Gpu, work: Workload, generating: int, training: int, *, proximal: bool
) -> Pipeline:
    """Some generate while the others train."""
    seconds = _training(shape, gpu, work, training, proximal=proximal)
    return _pipeline(shape, gpu, work, generating, seconds, staleness=4, shared=False)


def _pipeline(
    shape: ModelShape,
    gpu: Gpu,
    work: Workload,
    engines: int,
    train_s: float,
    *,
    staleness: int,
    shared: bool,
) -> Pipeline:
    engine = EngineSetup(shape, 1, 2, work.context)
    return Pipeline(
        engines=engines,
        slots=-(-work.trajectories // engines),
        token_seconds=pipelines.token_seconds(engine, gpu, work),
        draw=pipelines.draws(work),
        group_size=work.group_size,
        batch_groups=work.groups,
        max_staleness=staleness,
        max_groups=(staleness + 1) * work.groups,
        train_s=lambda _: train_s,
        pause_s=2.0,
        shared=shared,
    )
