"""The reference job on 80 to 10,000 H200: asynchronous, synchronous, and what limits each.

Weak scaling: trainer, engines and batch grow together, so that each GPU has the same work. Failures
grow with the GPUs: Llama 3's 419 interruptions in 54 days on 16,384 GPUs are one per 50,700 hours
of a GPU (https://arxiv.org/abs/2407.21783, table 5).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.stages import RLStage
from sea_runtime.planner import builtin_models, gpus, job_plan, pipelines, simulation
from sea_runtime.planner.job_plan import POLICY, USER, JobPlan, Known
from sea_runtime.planner.simulated_pipeline import Pipeline, Result

GPU_HOURS = 50_700
FACTORS = (1, 2, 8, 32, 125)
SIMULATED = 2
"""Copies of the reference job that are simulated: with more, each GPU has the same work."""
RESTART_SECONDS = 300.0
"""Of the trainer, from the failure to the first step again: assumed."""
STEPS = 24
WIRE_BYTES = 13
"""Per token of a trajectory: id, log-probability, version, mask (`wire/rollouts.py`)."""


@dataclass(frozen=True)
class Row:
    gpus: int
    mode: str
    step_s: float
    tokens_per_gpu_s: float
    """Trained tokens per second and GPU."""
    staleness: float
    trainer: float
    """Share of its time that it trains."""
    places: float
    """Share of the engines' places in use."""
    limit: str
    lost: float
    """Share of the time that failures of the trainer cost."""
    batch_gb_per_step: float
    """Through the coordinator."""
    results_per_s: float
    """Episodes that end, at the coordinator."""


def rows(spec: Spec) -> list[Row]:
    plan = job_plan.plan(spec, known(spec))
    rl = next(stage.rl for stage in spec.stages if stage.rl)
    found = modes(plan, rl)
    results = {mode: simulation.simulate(pipeline, STEPS) for mode, pipeline in found.items()}
    return [
        _row(mode, pipelines.limit(found[mode], result), result, factor, plan)
        for factor in FACTORS
        for mode, result in results.items()
    ]


def known(spec: Spec) -> Known:
    """The reference job's models and GPUs."""
    shapes = {
        POLICY: builtin_models.of_source(spec.model.source),
        USER: builtin_models.of_source(spec.user_model.source or ""),
    }
    known = {stream: shape for stream, shape in shapes.items() if shape is not None}
    return Known(known, gpus.H200, gpus.H200, gpus.H200)


def modes(plan: JobPlan, rl: RLStage) -> dict[str, Pipeline]:
    """The RL stage of twice the job, by how it is run."""
    (stage, engine), gpu = (plan.stages[0], plan.engine), plan.engine_gpu
    assert engine is not None
    assert gpu is not None
    assert plan.trainer is not None
    slots = max(1, round(stage.generation.episodes))
    one = pipelines.of_stage(stage, rl, engine, gpu, plan.engines, slots)
    asked = replace(
        one,
        engines=one.engines * SIMULATED,
        batch_groups=one.batch_groups * SIMULATED,
        max_groups=one.max_groups * SIMULATED,
    )
    wide = replace(asked, max_staleness=4, max_groups=2 * asked.max_groups)
    return {
        "asynchronous, staleness 2": asked,
        "asynchronous, staleness 4": wide,
        "synchronous": pipelines.synchronous(asked),
    }


def _row(mode: str, limit: str, found: Result, factor: int, plan: JobPlan) -> Row:
    assert plan.trainer is not None
    assert plan.engine is not None
    stage, trainers = plan.stages[0], factor * plan.trainer.layout.world_size
    total = trainers + factor * plan.engines * plan.engine.tensor
    # A failure of any of its GPUs takes the trainer back to its last checkpoint.
    again = stage.checkpoint_every / 2 * stage.trainer_s
    lost = (RESTART_SECONDS + again) * trainers / (GPU_HOURS * 3600)
    step_s = found.step_seconds * (1 + lost)
    tokens = factor * stage.workload.tokens
    return Row(
        gpus=total,
        mode=mode,
        step_s=round(step_s, 1),
        tokens_per_gpu_s=round(tokens / step_s / total, 1),
        staleness=round(found.staleness, 2),
        trainer=round(found.trainer_busy, 3),
        places=round(found.slots_busy, 3),
        limit=limit,
        lost=round(lost, 4),
        batch_gb_per_step=round(tokens * WIRE_BYTES / 1e9, 2),
        results_per_s=round(factor * stage.workload.trajectories / step_s, 1),
    )


def table(found: Sequence[Row]) -> Iterator[str]:
    yield (
        f"{'GPUs':>6}  {'mode':<26}{'step, s':>9}{'tokens/s/GPU':>14}{'staleness':>11}"
        f"{'trainer':>9}{'places':>8}{'lost':>7}{'GB/step':>9}{'results/s':>11}  limited by"
    )
    for row in found:
        yield (
            f"{row.gpus:>6,}  {row.mode:<26}{row.step_s:>9,.1f}{row.tokens_per_gpu_s:>14,.1f}"
            f"{row.staleness:>11.2f}{row.trainer:>9.0%}{row.places:>8.0%}{row.lost:>7.2%}"
            f"{row.batch_gb_per_step:>9,.2f}{row.results_per_s:>11,.1f}  {row.limit}"
        )
