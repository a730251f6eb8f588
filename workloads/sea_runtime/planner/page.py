"""A plan as a page of text: aligned rows, units, assumptions and their sources. Pure."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from sea_api.v1alpha1.job import Spec
from sea_runtime.planner import alternatives, gpus, parameters, simulation, speed, transfers
from sea_runtime.planner.alternatives import Candidate, Split, describe
from sea_runtime.planner.budgets import Budget, Fit, gb
from sea_runtime.planner.job_plan import JobPlan, StagePlan
from sea_runtime.planner.pipelines import limit
from sea_runtime.planner.simulated_pipeline import Pipeline

WIDTH = 96
LABEL = 58
NUMBER = 10


def lines(name: str, spec: Spec, plan: JobPlan) -> Iterator[str]:
    """The page, line by line."""
    yield f"Plan of {name}: {plan.fit.value}"
    yield ""
    yield from _summary(spec, plan)
    for budget in plan.budgets:
        yield ""
        yield from _budget(budget)
    if plan.cache is not None:
        yield ""
        yield from _cache(plan)
    for stage in plan.stages:
        yield ""
        yield from _stage(stage, plan)
    if plan.notes:
        yield ""
        yield from _paragraphs("Not planned", plan.notes)
    yield ""
    yield from assumptions(plan)


def _summary(spec: Spec, plan: JobPlan) -> Iterator[str]:
    setup, engine = plan.trainer, plan.engine
    shape = setup.shape if setup else engine.shape if engine else None
    if shape is None:
        return
    element = setup.element if setup else engine.element if engine else 2
    count = parameters.of_model(shape).total
    yield _fact("model", f"{spec.model.source}, {spec.model.precision.value}")
    yield _fact(
        "", f"{count / 1e9:,.2f} B parameters, {parameters.active(shape) / 1e9:,.2f} B per token"
    )
    version = gb(transfers.weight_bytes(shape, element))
    saved = gb(transfers.checkpoint_bytes(shape, spec.trainer.optimizer.moments))
    yield _fact("stored", f"{version} per weight version, {saved} per checkpoint")
    if setup is not None:
        layout = setup.layout
        kind = plan.trainer_gpu.name if plan.trainer_gpu else "GPU"
        yield _fact("trainer", f"{layout.world_size} x {kind}: {layout}")
        if layout.pipeline > 1:
            yield _fact("", f"layers per stage: {' '.join(map(str, layout.stage_layers))}")
        yield _fact(
            "", f"rows of {setup.row_tokens:,} tokens; recomputed: {setup.recomputation.value}"
        )
    if engine is not None and plan.engines:
        kind = plan.engine_gpu.name if plan.engine_gpu else "GPU"
        count = plan.engines * engine.tensor
        yield _fact("rollout", f"{count} x {kind}: {plan.engines} engines, tensor {engine.tensor}")


def _budget(budget: Budget) -> Iterator[str]:
    yield _head(f"Memory of {budget.where}", "GB")
    for item in budget.items:
        yield _row(item.name, f"{item.nbytes / 1e9:,.2f}")
    yield _row("needed", f"{budget.needed / 1e9:,.2f}")
    if budget.capacity is None:
        yield _row("available", "not limited" if "pod" in budget.where else "unknown")
        return
    left = budget.capacity - budget.needed
    yield _row("available", f"{budget.capacity / 1e9:,.2f}")
    yield _row("left", f"{left / 1e9:,.2f}", f"{left / budget.capacity:+.0%}  {budget.fit.value}")
    if budget.fit is not Fit.FITS:
        yield from _wrapped(f"To change: {budget.remedy}.")


def _cache(plan: JobPlan) -> Iterator[str]:
    cache, engine = plan.cache, plan.engine
    assert cache is not None
    assert engine is not None
    yield _head("KV cache of each engine", "")
    yield _row("on each GPU", gb(cache.nbytes))
    yield _row("tokens", f"{cache.tokens:,}")
    yield _row(f"sequences of {engine.context:,} tokens", f"{cache.sequences_full:,.1f}")
    yield _row("sequences of mean length, half grown", f"{2 * cache.sequences_mean:,.1f}")
    yield _row("sequences asked for at a time", f"{cache.asked:,}")
    if 2 * cache.sequences_mean < cache.asked:
        yield from _wrapped(
            "The engines preempt sequences: fewer run at a time than the job asks for."
        )


def _stage(stage: StagePlan, plan: JobPlan) -> Iterator[str]:
    work = stage.workload
    yield _head(f"Stage {stage.stage}: one step", "seconds")
    yield _row(
        f"{work.trajectories:,} trajectories of {work.mean_tokens:,.0f} tokens",
        "",
        f"{work.source}; {work.generated_share:.0%} generated",
    )
    train, update = stage.training, stage.update
    yield _row("trainer: forward and backward", f"{train.compute_s:,.1f}", _rate(train))
    yield _row("pipeline bubble", f"{train.bubble_s:,.1f}", f"{train.microbatches} microbatches")
    if train.proximal_s:
        yield _row("proximal log-probabilities", f"{train.proximal_s:,.1f}")
    yield _row("gradients and optimizer", f"{train.reduce_s + train.update_s:,.1f}")
    yield _row("publishing (copy and checksums)", f"{stage.publish_s:,.1f}")
    saving = stage.checkpoint.foreground_s
    every = f"every {stage.checkpoint_every} steps, upload {stage.checkpoint.background_s:,.0f} s"
    yield _row("checkpoint, in the foreground", f"{saving:,.1f}", every)
    yield _row("trainer, mean step", f"{stage.trainer_s:,.1f}")
    made = stage.generation
    running = f"{made.generating:,.0f} of {made.episodes:,.0f} episodes per engine generate"
    yield _row("engines: the step's trajectories", f"{stage.generate_s:,.1f}", running)
    yield _row(
        "one token",
        f"{made.token_s:,.4f}",
        f"{made.generating / made.token_s:,.0f} tokens/s per engine",
    )
    yield _row("one trajectory", f"{made.episode_s:,.1f}")
    yield _row(
        "weight update: transfer",
        f"{update.transfer_s:,.1f}",
        f"{gb(update.bytes_per_worker)} per worker",
    )
    yield _row("weight update: checksums", f"{update.verify_s:,.1f}", "next to generation")
    yield _row("weight update: pause", f"{update.pause_s:,.1f}")
    yield _row("caches computed again", f"{stage.recompute_s:,.1f}")
    yield _row("engines, mean step", f"{stage.engine_s:,.1f}")
    slower = "trainer" if stage.trainer_s >= stage.engine_s else "engines"
    yield _row("step, both at once", f"{stage.step_s:,.1f}", f"the {slower} set the pace")
    tokens = work.tokens / stage.step_s
    yield _row("tokens trained per second", f"{tokens:,.0f}")


def _rate(train: speed.TrainingTime) -> str:
    return f"{train.flops_per_gpu / 1e12:,.0f} TFLOP/s per GPU over the step"


def proposals(
    found: Sequence[Candidate], smallest: Candidate | None, splits: Sequence[Split], total: int
) -> Iterator[str]:
    """Layouts that fit, and the best splits of all GPUs.

    Args:
        found: of the job's trainer GPUs.
        smallest: of the fewest GPUs that would do, where none is found.
    """
    if not found and smallest is None:
        most = alternatives.MOST_GPUS
        yield from _wrapped(f"No layout of these trainer GPUs fits, nor any of up to {most}.")
    elif not found and smallest is not None:
        layout, needed = smallest.layout, gb(smallest.nbytes)
        yield from _wrapped(
            f"No layout of these trainer GPUs fits; {layout.world_size} do,"
            f" with {describe(layout)}: {needed} on each, {smallest.seconds:,.1f} s per step."
        )
    if found:
        yield _head("Layouts of these trainer GPUs that fit", "GB", "step, s")
        for one in found[:5]:
            extra = f"{one.seconds:>10,.1f}  recomputed: {one.setup.recomputation.value}"
            yield _row(describe(one.layout), f"{one.nbytes / 1e9:,.1f}", extra)
    if not splits:
        yield from _wrapped(f"No split of {total} GPUs into training and generation fits.")
    else:
        yield ""
        yield _head(
            f"Best splits of {total} GPUs (training + generation)", "step, s", "trainer, engines"
        )
        for split in splits[:5]:
            label = f"{split.trainer} + {split.rollout}, {describe(split.layout)}"
            yield _row(
                label, f"{split.step_s:,.1f}", f"{split.train_s:>9,.1f} {split.generate_s:>9,.1f}"
            )


def simulated(variants: Mapping[str, Pipeline], steps: int) -> Iterator[str]:
    """Each pipeline, simulated for that many steps."""
    yield ""
    yield _head(f"Simulated, {steps} steps", "step, s", "staleness  trainer  places  limited by")
    for name, pipeline in variants.items():
        found = simulation.simulate(pipeline, steps)
        extra = (
            f"{found.staleness:>9.2f}  {found.trainer_busy:>7.0%}  {found.slots_busy:>6.0%}"
            f"  {limit(pipeline, found)}"
        )
        yield _row(name, f"{found.step_seconds:,.1f}", extra)


def assumptions(plan: JobPlan) -> Iterator[str]:
    """What the numbers rest on, with sources."""
    notes = [*gpus.ASSUMPTIONS, *speed.GENERATION_NOTES, *transfers.TRANSFER_NOTES]
    if plan.stages:
        work = plan.stages[0].workload
        notes.append(
            f"Trajectories: log-normal lengths with mean {work.mean_tokens:,.0f} (99 % below"
            f" {work.quantile(0.99):,.0f}), spread {work.spread}, {work.mean_turns:,.0f} turns of"
            f" {work.turn_seconds:.0f} s for user and tools: {work.source}. --metrics with a run's"
            " reports/metrics.jsonl takes its means."
        )
    yield from _paragraphs("Assumptions", notes)


def _paragraphs(title: str, notes: Sequence[str]) -> Iterator[str]:
    yield title
    for note in notes:
        yield from textwrap.wrap(note, WIDTH, initial_indent="  - ", subsequent_indent="    ")


def _wrapped(text: str) -> Iterator[str]:
    yield from textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  ")


def _fact(label: str, text: str) -> str:
    return f"{label:<10}{text}"


def _head(label: str, unit: str, more: str = "") -> str:
    return f"{label:<{LABEL + 2}}{unit:>{NUMBER}}  {more}".rstrip()


def _row(label: str, number: str, more: str = "") -> str:
    return f"  {label:<{LABEL}}{number:>{NUMBER}}  {more}".rstrip()
