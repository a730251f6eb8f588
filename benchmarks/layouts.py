"""Every parallel layout against one process: `make bench-layouts`. CPU only, over gloo.

Prints a row per case and, last, one JSON object: `cases`, `failed`, `max_grad_rel_diff`,
`reference_48` (true if the reference run's layout, tensor 4 x pipeline 12 x expert 4 on 48
processes, agrees). `--small` runs the few cases that `make test` runs, `--report FILE` writes what
each case measured, for the tests.
"""

import argparse
import dataclasses
import functools
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

# Before torch: with a device, or a driver that is asked, the forks below could not use it.
os.environ |= {"CUDA_VISIBLE_DEVICES": "", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}

import layout_checkpoints
import layout_ranks
import layout_training
import layout_traps
from layout_cases import (
    KINDS,
    LAYOUTS,
    MODELS,
    PAIRS,
    REFERENCE_48,
    SMALL,
    SMALL_PAIRS,
    WHOLE,
    Case,
    ways,
)
from layout_training import Run

from sea_devcluster import interrupts
from sea_runtime.parallel import parallel_layout
from sea_runtime.parallel.hf_config import ModelShape

TOLERANCE = 1e-5
DEEP_TOLERANCE = 4 * TOLERANCE
"""Of single gradients that passed 94 layers instead of 6: rounding adds up like a random walk, and
sqrt(94 / 6) is 4. Their norm, the log-probabilities and the parameters are held to `TOLERANCE`."""


@functools.cache
def shape_of(model: str) -> ModelShape:
    return layout_training.write_model(MODELS[model], folder_of(model))


@functools.cache
def root() -> Path:
    return Path(tempfile.mkdtemp(prefix="layouts-"))


def folder_of(model: str) -> Path:
    return root() / model.replace(" ", "-")


@functools.cache
def reference(model: str, *, brief: bool = False) -> Run:
    """The one-process run; its files are in the model's folder."""
    return _train(Case(model, 1, ways()), None, brief=brief)[0]


def _train(case: Case, known: Path | None, *, brief: bool) -> list[Run]:
    shape, folder = shape_of(case.model), folder_of(case.model)
    return layout_ranks.run(
        case.layout(),
        lambda place: layout_training.train(shape, place, folder, known, brief=brief),
    )


def parity(case: Case, *, brief: bool = False) -> dict[str, float]:
    """Largest differences to the one-process run, over all ranks."""
    one = reference(case.model, brief=brief)
    runs = _train(case, folder_of(case.model), brief=brief)
    published = sorted(name for run in runs for name in run.published)
    assert published == sorted(one.published), "each tensor is published by exactly one rank"
    found = {
        "logp": max(run.logp_diff for run in runs),
        "grad_rel": max(run.grad_rel_diff for run in runs),
        "parameters": max(run.parameter_diff for run in runs),
    }
    for name in ("loss", "grad_norm"):
        found[name] = max(
            abs(own[name] - known[name]) / max(1.0, abs(known[name]))
            for run in runs
            for own, known in zip(run.metrics, one.metrics, strict=True)
        )
    return found


@functools.cache
def saved(model: str, layout: str) -> tuple[Path, list[float]]:
    """A checkpoint of a layout, and the losses of the steps after it."""
    world, requested = LAYOUTS[layout]
    shape, folder = shape_of(model), folder_of(model)
    checkpoint = root() / f"checkpoint-{layout.replace(' ', '-')}"
    checkpoint.mkdir()
    losses = layout_ranks.run(
        parallel_layout.plan(requested, shape, world),
        lambda place: layout_checkpoints.save(shape, place, folder, checkpoint),
    )
    return checkpoint, losses[0]


def resharded(model: str, before: str, after: str) -> dict[str, float]:
    """Largest difference of the losses after a checkpoint is loaded in another layout."""
    checkpoint, wanted = saved(model, before)
    world, requested = LAYOUTS[after]
    shape, folder = shape_of(model), folder_of(model)
    losses = layout_ranks.run(
        parallel_layout.plan(requested, shape, world),
        lambda place: layout_checkpoints.load(shape, place, folder, checkpoint),
    )
    gaps = [abs(a - b) for own in losses for a, b in zip(own, wanted, strict=True)]
    return {"loss": max(gaps)}


def trapped(name: str) -> dict[str, float]:
    """As `parity`, with one of the mistakes made; `shows` is the figure that must reveal it."""
    make, figure = layout_traps.TRAPS[name]
    case = Case("two layers", 2, ways(tensor=2))
    if name == layout_traps.FORCED:
        case = dataclasses.replace(case, change=layout_traps.whole_experts)
    if name == layout_traps.LATE:
        case = Case("two layers", 2, ways())
    # Before the mistake: the reference is the right one.
    reference(case.model, brief=True)
    started = time.monotonic()
    with make():
        found = parity(case, brief=True)
    seconds = time.monotonic() - started
    print(f"without a cure: {name:50} {seconds:5.1f} s  {figure} {found[figure]:.1e}", flush=True)
    return found | {"shows": found[figure]}


def killed(kind: str) -> dict[str, Any]:
    """A rank dies in a step: how long the other waits in the collective, and with which error; then
    the next attempt, which goes on from the checkpoint before.
    """
    shape, folder = shape_of("two layers"), folder_of("two layers")
    layout = parallel_layout.plan(KINDS[kind], shape, 2)
    checkpoint = root() / f"killed-{kind}"
    checkpoint.mkdir()
    (lost,) = layout_ranks.run(
        layout,
        lambda place: layout_checkpoints.lose_a_rank(shape, place, folder, checkpoint, lost=1),
        killed=1,
    )
    again = layout_ranks.run(
        layout, lambda place: layout_checkpoints.load(shape, place, folder, checkpoint)
    )
    gap = max(abs(own[0] - lost.losses[0]) for own in again)
    print(
        f"killed among {kind:40} {lost.seconds:5.2f} s until {lost.error}, then loss {gap:.1e}",
        flush=True,
    )
    deadline = layout_ranks.COLLECTIVE_SECONDS
    return {"seconds": lost.seconds, "error": lost.error, "deadline": deadline, "loss": gap}


class Report:
    """Rows for people, and every figure for the last line."""

    def __init__(self) -> None:
        self.cases: dict[str, dict[str, Any]] = {}

    def row(self, name: str, measure: Any, gradients: float = TOLERANCE) -> bool:
        """`gradients`: the largest relative difference that one may have."""
        started = time.monotonic()
        try:
            found = measure()
            allowed = dict.fromkeys(found, TOLERANCE) | {"grad_rel": gradients}
            # Not `>`: a NaN differs too.
            beyond = [key for key, value in found.items() if not value <= allowed[key]]
            failed = f"DIFFERS in {', '.join(beyond)}" if beyond else ""
        except Exception as error:
            found, failed = {}, f"FAILED {str(error).strip().splitlines()[-1]}"
            print(error, file=sys.stderr)
        seconds = time.monotonic() - started
        figures = "  ".join(f"{key} {value:.1e}" for key, value in found.items())
        print(f"{name:55} {seconds:5.1f} s  {figures}  {failed}", flush=True)
        self.cases[name] = found | {"seconds": seconds, "failed": failed}
        return not failed

    def summary(self, reference_48: bool | None) -> dict[str, Any]:
        grads = [one["grad_rel"] for one in self.cases.values() if "grad_rel" in one]
        return {
            "cases": len(self.cases),
            "failed": sum(1 for one in self.cases.values() if one["failed"]),
            "max_grad_rel_diff": max(grads, default=None),
            "reference_48": reference_48,
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="the cases of `make test`, and traps")
    parser.add_argument("--only", default="", help="cases whose names contain this")
    parser.add_argument("--report", type=Path, help="file for the figures of every case")
    given = parser.parse_args()
    interrupts.raise_on_signals()  # the ranks are children, which would go on
    report, found = Report(), None
    try:
        for case in SMALL if given.small else [*WHOLE, REFERENCE_48]:
            if given.only in str(case):
                deep = DEEP_TOLERANCE if case is REFERENCE_48 else TOLERANCE
                agrees = report.row(str(case), functools.partial(parity, case), deep)
                found = agrees if case is REFERENCE_48 else found
        model = "two layers" if given.small else "moe"
        for before, after in SMALL_PAIRS if given.small else PAIRS:
            name = f"checkpoint: {before} -> {after}"
            if given.only in name:
                report.row(name, functools.partial(resharded, model, before, after))
        lost = {kind: killed(kind) for kind in KINDS}
        traps = {name: trapped(name) for name in layout_traps.TRAPS} if given.small else {}
    finally:
        shutil.rmtree(root(), ignore_errors=True)
    summary = report.summary(found)
    if given.report:
        given.report.write_text(json.dumps({"cases": report.cases, "traps": traps, "killed": lost}))
    print(json.dumps(summary))
    return 1 if summary["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
