"""The benchmark's last line has the documented keys."""

import importlib.util
from types import ModuleType
from typing import Any

import pytest

from sea_devcluster.demo.memory import Usage
from sea_devcluster.demo.options import ROOT
from sea_devcluster.demo.report import RunResult

GIB = 2**30


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    file = ROOT / "benchmarks" / "first_light.py"
    spec = importlib.util.spec_from_file_location("first_light", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def row(step: int, time: float) -> dict[str, Any]:
    metrics = {
        "reward": 0.5,
        "train_s": 3.0,
        "checkpoint_s": 0.8 if step == 2 else 0.0,
        "logprob_max_diff": step * 1e-6,
        "generated_tokens": 600,
        "tokens": 2000,
    }
    return {"stage": "rl", "step": step, "time": time, "metrics": metrics}


def score(stage: str, pass1: float) -> dict[str, Any]:
    return {"stage": stage, "domain": "average", "passHat1": pass1, "episodes": 256, "tasks": 128}


RESULT = RunResult(
    seconds=403.04,
    ready_seconds=25.06,
    status={
        "evaluation": [score("eval-sft", 35.16), score("eval-rl", 60.55)],
        "restarts": {"counted": 1, "uncounted": 2},
    },
    rows=[row(1, 100.0), row(2, 104.0)],
    timeline=[
        {"kind": "generate", "step": 1, "start": 0.0, "end": 7.0},
        {"kind": "train", "step": 1, "start": 5.0, "end": 8.0},
        {
            "kind": "update",
            "start": 8.0,
            "end": 8.3,
            "transfer_s": 0.05,
            "apply_s": 0.04,
            "pause_s": 0.12,
        },
    ],
)


def test_every_measurement_has_its_key_and_unit(bench: ModuleType) -> None:
    found = bench.measurements(RESULT, Usage(rss=int(9.6 * GIB), pss=int(7.6 * GIB)))
    assert found == {
        "demo_s": 403.0,
        "ready_s": 25.1,
        "step_s": {
            "generate": 7.0,
            "train": 3.0,
            "update": 0.09,
            "pause": 0.12,
            "pause_max": 0.12,
            "checkpoint": 0.8,
        },
        "tokens_per_s": {"generated": 150.0, "trained": 500.0},
        "pass1": {"sft": 35.2, "rl": 60.5},
        "pass1_n": 256,
        "peak_rss_gib": 9.6,
        "peak_pss_gib": 7.6,
        "logprob_max_diff": 2e-6,
        "restarts": 3,
        "overlap_s": 2.0,
    }


def test_a_job_without_reinforcement_learning_has_them_too(bench: ModuleType) -> None:
    """Empty if nothing was measured: never an exception after minutes of training."""
    found = bench.measurements(RunResult(1.0, None, {}, [], []), Usage())
    assert found["pass1"] == {}
    assert found["tokens_per_s"] == {"generated": None, "trained": None}
    assert set(found["step_s"].values()) == {None}


def span(kind: str, start: float, end: float, **more: float) -> dict[str, object]:
    return {"kind": kind, "start": start, "end": end, **more}


def metrics_row(step: int, **metrics: float) -> dict[str, object]:
    return {"step": step, "time": float(step), "metrics": metrics}


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [((0, 10), (2, 4), 2.0), ((0, 10), (8, 12), 2.0), ((0, 1), (1, 2), 0.0), ((0, 1), (5, 6), 0.0)],
)
def test_overlap(
    bench: ModuleType, one: tuple[float, float], other: tuple[float, float], overlap: float
) -> None:
    timeline = [span("generate", *one), span("train", *other)]
    assert bench.overlap_seconds(timeline, "generate", "train") == overlap


def test_metric_reads_reinforcement_rows_only(bench: ModuleType) -> None:
    rows = [
        metrics_row(1, train_s=9.0),
        metrics_row(2, reward=0.0, train_s=1.0),
        metrics_row(3, reward=1.0),
    ]
    assert bench.metric(rows, "train_s") == [1.0]
    assert bench.middle([]) is None
    assert bench.field_values([span("update", 0, 1, pause_s=0.2)], "update", "pause_s") == [0.2]


def test_overlapping_groups_count_once(bench: ModuleType) -> None:
    timeline = [span("generate", 0, 4), span("generate", 1, 6), span("train", 2, 8)]
    assert bench.busy(timeline, "generate") == [(0, 6)]
    assert bench.overlap_seconds(timeline, "generate", "train") == 4.0


def test_generation_of_a_step_lasts_from_its_first_group_to_its_last(bench: ModuleType) -> None:
    timeline = [
        span("generate", 0, 4, step=1),
        span("generate", 3, 6, step=1),
        span("generate", 5, 9, step=2),
        {"kind": "generate", "start": 0.0, "end": 99.0, "step": None},
    ]
    assert bench.generation_seconds(timeline) == [6, 4]
