"""A run's timeline becomes a pipeline whose steps take as long."""

import json
from dataclasses import replace

import pytest

from sea_runtime.planner import calibration
from sea_runtime.planner.calibration import Gate, Run, of_folder
from sea_runtime.planner.simulated_pipeline import Pipeline, Turn
from sea_runtime.planner.simulation import simulate

GATE = Gate(groups=4, group_size=4, max_staleness=2, max_groups=12, slots=48)


def simulated_run(train_s: float, steps: int = 24) -> Run:
    """Of a pipeline that is known, as its run folder would tell it."""
    pipeline = Pipeline(
        engines=1,
        slots=GATE.slots,
        token_seconds=lambda n: 0.002 * max(1.0, n),
        draw=lambda random: (Turn(random.randint(20, 60), 0.0),),
        group_size=GATE.group_size,
        batch_groups=GATE.groups,
        max_staleness=GATE.max_staleness,
        max_groups=GATE.max_groups,
        train_s=lambda _: train_s,
        pause_s=0.1,
    )
    found = simulate(pipeline, steps)
    metrics = [
        {
            "stage": "rl",
            "time": 1000.0 + step.ended,
            "metrics": {
                "train_s": step.trained,
                "batch_wait_s": step.waited,
                "publish_s": 0.0,
                "staleness": step.staleness,
                "generated_tokens": step.tokens,
            },
        }
        for step in found.steps
    ]
    spans: list[dict[str, object]] = [
        {"kind": "generate", "stage": "rl", "start": 1000.0, "end": 1000.0 + step.ended, "step": 1}
        for step in found.steps
    ]
    update = {"kind": "update", "stream": "policy", "start": 1001.0}
    spans.append({**update, "transfer_s": 0.0, "apply_s": 0.0, "pause_s": 0.1})
    return of_folder(GATE, "rl", metrics, spans)


@pytest.mark.parametrize("train_s", [0.2, 4.0])
def test_a_fitted_pipeline_takes_as_long_as_the_run(train_s: float) -> None:
    """Bound by the engines, and bound by the trainer."""
    found = calibration.held_out(simulated_run(train_s))
    assert abs(found.error) < 0.1
    assert found.simulated_staleness == pytest.approx(found.measured_staleness, abs=0.4)


def test_a_run_survives_its_file() -> None:
    run = simulated_run(1.0, steps=6)
    assert Run.parse(json.loads(json.dumps(run.dump()))) == run


def test_groups_of_equal_rewards_are_made_in_addition() -> None:
    run = simulated_run(0.2)
    dropped = replace(run, groups=tuple(replace(group, trained=False) for group in run.groups[::2]))
    kept = calibration.fitted(replace(run, groups=run.groups + dropped.groups), run.steps[:12])
    assert kept.kept_share == pytest.approx(2 / 3, abs=0.02)
