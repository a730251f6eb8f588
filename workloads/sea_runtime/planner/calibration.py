"""Fits the simulated pipeline to a run's timeline, and checks it on steps that it wasn't fitted to.

A run's `reports/timeline.json` has a span per group, training step and weight update
(`coordinator/reports.py`); `docs/run-folder.md` says where it is. What is fitted: the pace of the
engines, from the groups that finished in the first half. What is taken as measured: training,
publishing and update times. What is then predicted: seconds between steps, and staleness. Pure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from random import Random
from statistics import fmean, median
from typing import Any

from sea_runtime.planner.simulated_pipeline import Pipeline, Turn
from sea_runtime.planner.simulation import simulate

SEEDS = 5
"""Simulated runs whose mean is compared."""


@dataclass(frozen=True)
class Gate:
    """What of the job decides who may generate."""

    groups: int
    group_size: int
    max_staleness: int
    max_groups: int
    slots: int
    """Episodes at a time over all engines."""


@dataclass(frozen=True)
class TimedStep:
    ended: float
    trained_s: float
    published_s: float
    waited_s: float
    staleness: float
    tokens: float
    """Generated."""


@dataclass(frozen=True)
class TimedGroup:
    started: float
    """Its first lease."""
    ended: float
    trained: bool
    """False if its rewards were equal."""


@dataclass(frozen=True)
class Run:
    """An RL stage, as it was."""

    gate: Gate
    steps: tuple[TimedStep, ...]
    groups: tuple[TimedGroup, ...]
    update_s: float
    """From published to served, median."""
    pause_s: float

    @staticmethod
    def parse(body: Mapping[str, Any]) -> "Run":
        """Reads the JSON that `dump` returns."""
        return Run(
            gate=Gate(**body["gate"]),
            steps=tuple(TimedStep(*row) for row in body["steps"]),
            groups=tuple(TimedGroup(*row) for row in body["groups"]),
            update_s=body["update_s"],
            pause_s=body["pause_s"],
        )

    def dump(self) -> dict[str, Any]:
        """The JSON that `parse` reads."""
        return {
            "gate": vars(self.gate),
            "update_s": self.update_s,
            "pause_s": self.pause_s,
            "steps": [list(vars(step).values()) for step in self.steps],
            "groups": [list(vars(group).values()) for group in self.groups],
        }


Rows = Iterable[Mapping[str, Any]]


def of_folder(gate: Gate, stage: str, metrics: Rows, spans: Rows) -> Run:
    """Reads `reports/metrics.jsonl` and `timeline.json`; times count from the first group."""
    spans = list(spans)
    found = [span for span in spans if span["kind"] == "generate" and span["stage"] == stage]
    began = min(span["start"] for span in found)
    groups = tuple(
        TimedGroup(
            round(span["start"] - began, 3), round(span["end"] - began, 3), span["step"] is not None
        )
        for span in sorted(found, key=lambda span: span["end"])
    )
    steps = tuple(
        _step(row["time"] - began, row["metrics"]) for row in metrics if row["stage"] == stage
    )
    updates = [span for span in spans if span["kind"] == "update" and span["start"] > began]
    policy = [span for span in updates if span["stream"] == "policy"]
    return Run(
        gate,
        steps,
        groups,
        update_s=round(median(span["transfer_s"] + span["apply_s"] for span in policy), 3),
        pause_s=round(median(span["pause_s"] for span in policy), 3),
    )


def _step(ended: float, metrics: Mapping[str, float]) -> TimedStep:
    return TimedStep(
        round(ended, 3),
        round(metrics["train_s"], 3),
        round(metrics.get("publish_s", 0.0), 3),
        round(metrics.get("batch_wait_s", 0.0), 3),
        round(metrics["staleness"], 4),
        metrics["generated_tokens"],
    )


@dataclass(frozen=True)
class Comparison:
    """Means over the steps that nothing was fitted to."""

    measured_s: float
    simulated_s: float
    measured_staleness: float
    simulated_staleness: float

    @property
    def error(self) -> float:
        """Relative error of the simulated seconds per step."""
        return self.simulated_s / self.measured_s - 1.0


def held_out(run: Run) -> Comparison:
    """Fits to the first half of the steps, and compares the second."""
    half = len(run.steps) // 2
    first, second = run.steps[:half], run.steps[half:]
    pipeline = fitted(run, first)
    # All steps, from the beginning: the second half begins with the groups that the first left
    # running.
    results = [simulate(pipeline, len(run.steps), seed) for seed in range(SEEDS)]
    later = [result.steps[half:] for result in results]
    return Comparison(
        measured_s=(second[-1].ended - first[-1].ended) / len(second),
        simulated_s=fmean(
            (result.steps[-1].ended - result.steps[half - 1].ended) / len(second)
            for result in results
        ),
        measured_staleness=fmean(step.staleness for step in second),
        simulated_staleness=fmean(step.staleness for steps in later for step in steps),
    )


def fitted(run: Run, first: tuple[TimedStep, ...]) -> Pipeline:
    """The pipeline whose engines finish groups as fast as in the first steps.

    Engines and trainer of a run on one machine slow each other down: the fitted pace has that in
    it, as long as both work.
    """
    until = first[-1].ended
    groups = [group for group in run.groups if group.ended <= until]
    trained = [step.trained_s for step in first]
    tokens = fmean(step.tokens for step in first) / (run.gate.groups * run.gate.group_size)
    kept = sum(group.trained for group in groups) / len(groups)
    pipeline = Pipeline(
        engines=1,
        slots=run.gate.slots,
        token_seconds=lambda _: 1.0,
        draw=lambda random: (Turn(max(1, round(tokens * random.uniform(0.5, 1.5))), 0.0),),
        group_size=run.gate.group_size,
        batch_groups=run.gate.groups,
        max_staleness=run.gate.max_staleness,
        max_groups=run.gate.max_groups,
        train_s=lambda random: _one_of(random, trained),
        publish_s=fmean(step.published_s for step in first),
        transfer_s=run.update_s,
        pause_s=run.pause_s,
        kept_share=kept,
    )
    return _paced(pipeline, len(first), len(run.steps), until)


def _one_of(random: Random, values: list[float]) -> float:
    return random.choice(values)


def _paced(pipeline: Pipeline, steps: int, stage: int, seconds: float) -> Pipeline:
    """Finds, by bisection, the token time at which the first `steps` steps end when they did.

    An engine on a few cores is bound by arithmetic: its time per token grows with its sequences.
    """
    # Seconds per token and sequence. Geometric means: 30 halvings of eight decades leave an error
    # of 2e-8.
    low, high = 1e-7, 10.0
    for _ in range(30):
        middle = (low * high) ** 0.5
        one = replace(pipeline, token_seconds=_proportional(middle))
        if simulate(one, steps, stage=stage).steps[-1].ended > seconds:
            high = middle
        else:
            low = middle
    return replace(pipeline, token_seconds=_proportional((low * high) ** 0.5))


def _proportional(seconds: float) -> Any:
    return lambda sequences: seconds * max(1.0, sequences)
