"""`make bench-plan`: the planner next to what was measured, and at 80 to 10,000 GPUs.

Four tables: memory of real training steps on the CPU, published set-ups, a run of our demo, and the
reference job scaled up. The last line is one JSON object.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import plan_scaling
import yaml

from sea_api.v1alpha1.job import Spec
from sea_devcluster import interrupts
from sea_runtime.planner import calibration, published_steps

ROOT = Path(__file__).parents[1]
JOB = ROOT / "examples" / "areal-sea-235b.yaml"
DEMO_JOB = ROOT / "examples" / "tiny.yaml"


def memory(names: Sequence[str]) -> dict[str, float]:
    """Error of the predicted peak by case."""
    # Imports torch, which the other tables don't need.
    import plan_memory

    print(f"{'memory of a step, MB':<30}{'measured':>10}{'plan':>10}{'error':>8}")
    found = {}
    for case in plan_memory.CASES:
        if names and case.name not in names:
            continue
        (row,) = plan_memory.measure([case])
        print(
            f"  {case.name:<28}{row.measured.peak / 1e6:>10,.0f}{row.peak / 1e6:>10,.0f}"
            f"{row.error:>8.1%}",
            flush=True,
        )
        found[case.name] = round(row.error, 4)
    return found


def others() -> dict[str, float | list[float]]:
    """Predicted over published, by set-up; two numbers where the source states no mean length."""
    print(f"{'published':<68}{'seconds':>9}{'plan':>14}{'ratio':>12}")
    found: dict[str, float | list[float]] = {}
    for row in published_steps.comparisons():
        name = f"{row.system}: {row.what}"
        plan, ratio = f"{row.predicted_s:,.1f}", f"{row.ratio:.2f}"
        found[name] = round(row.ratio, 3)
        if row.longest_s is not None and row.longest_ratio is not None:
            plan, ratio = f"{plan} to {row.longest_s:,.1f}", f"{ratio} to {row.longest_ratio:.2f}"
            found[name] = [round(row.ratio, 3), round(row.longest_ratio, 3)]
        print(f"  {name:<66}{row.published_s:>9,.1f}{plan:>17}{ratio:>14}  {row.assumed}")
    return found


def demo(folder: Path) -> float | None:
    """Error of the simulated step time in the part of the run that it wasn't fitted to."""
    if not (folder / "timeline.json").exists():
        print(f"our demo: {folder} has no timeline.json; `make demo` leaves one there")
        return None
    fitted = calibration.held_out(_run(folder))
    print(f"{'our demo, the steps after the first half':<40}{'measured':>10}{'plan':>10}")
    print(f"  {'seconds per step':<38}{fitted.measured_s:>10.2f}{fitted.simulated_s:>10.2f}")
    print(
        f"  {'staleness':<38}{fitted.measured_staleness:>10.2f}{fitted.simulated_staleness:>10.2f}"
    )
    return round(fitted.error, 4)


def _run(folder: Path) -> calibration.Run:
    """The RL stage of the demo's job, from what `make demo` leaves."""
    spec = Spec.model_validate(yaml.safe_load(DEMO_JOB.read_text())["spec"])
    stage = next(stage for stage in spec.stages if stage.rl)
    rl = stage.rl
    assert rl is not None
    gate = calibration.Gate(
        groups=rl.prompts_per_step,
        group_size=rl.trajectories_per_prompt,
        max_staleness=rl.max_staleness,
        max_groups=rl.max_concurrent_groups,
        slots=spec.rollout.replicas * spec.rollout.max_episodes,
    )
    metrics = json.loads((folder / "metrics.json").read_text())
    spans = json.loads((folder / "timeline.json").read_text())
    return calibration.of_folder(gate, stage.name, metrics, spans)


def scaling() -> list[dict[str, float | str]]:
    spec = Spec.model_validate(yaml.safe_load(JOB.read_text())["spec"])
    rows = plan_scaling.rows(spec)
    for line in plan_scaling.table(rows):
        print(line)
    return [vars(row) for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory", nargs="*", metavar="CASE", help="only these cases of memory")
    parser.add_argument(
        "--run", type=Path, default=ROOT / "out" / "demo", help="results of `make demo`"
    )
    parser.add_argument("--only", choices=["memory", "published", "demo", "scaling"])
    given = parser.parse_args()
    interrupts.raise_on_signals()  # the ranks of `plan_memory` are children, which would go on
    tables: dict[str, Callable[[], Any]] = {
        "memory": lambda: memory(given.memory or ()),
        "published": others,
        "demo": lambda: demo(given.run),
        "scaling": scaling,
    }
    found: dict[str, Any] = {}
    for name in [given.only] if given.only else list(tables):
        found[name] = tables[name]()
        print()
    errors = found.get("memory", {}).values()
    worst = max((abs(error) for error in errors), default=None)
    print(json.dumps({"memory_max_error": worst, **found}))


if __name__ == "__main__":
    main()
