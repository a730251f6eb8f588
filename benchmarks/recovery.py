"""`make bench-recovery`: how long a job stands still after a failure of each kind.

One RL job with an elastic trainer of two pods on a devcluster of two nodes (`recovery_job.py`); its
parts are killed one after the other, RUNS times each (CASES="a;b" for some of them). A case ends
with the first optimizer step of a newer number than the newest before it. Its items, seconds after
the fault:

    detect     the status names a failure, another size, or a role that lacks a pod
    decide     the status names another attempt of the trainer
    restart    the last process of the attempt has joined, or the role's pods are ready again
    load       all processes have the checkpoint and the stage begins
    step       the first new step is reported

Every case comes again with the operator killed in the same moment (OPERATOR=0 leaves that out).
After MINUTES no other case begins: `left_out` names those. One that doesn't recover within
CASE_SECONDS is named in `failed`, and ends the program with 1. The operator looks at a job once per
second, so what the status says is known within a second; `restart` and `load` are the times of the
processes' own log lines. `import_s` is what a training process takes to import its libraries on
this machine at the end of the run, alone; `beyond_import_s` is the longest median `step` of a case
minus that. Prints a row per case, the timeline of sizes, steps and rewards, and one JSON object as
its last line. SIMULATION=0 leaves the simulation of 80 GPUs out.

With GOODPUT=30 it is `goodput.py` instead: 30 minutes with a failure every two minutes, each with
its items. With
TIMELINE=1 it is `timeline.py`: a job whose node comes and goes, as a table. With ROLLBACK=1 it is
`rollback.py`: a job that goes back to a checkpoint, and one that starts from it.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import plan_scaling
import yaml
from recovery_job import RL, Bench, Seen, two_nodes

from sea_api.v1alpha1.job import Spec
from sea_devcluster.demo.options import ROOT
from sea_devcluster.errors import DemoError
from sea_runtime.planner import job_plan, simulation
from sea_runtime.planner.simulated_pipeline import Failures

NAME = "recovery"
SIMULATED_STEPS = 120
CASE_SECONDS = 300.0
"""Within which a case must have ended: ten times what it may take."""
IMPORTS = "from sea_runtime.trainer.process import _warm_up; _warm_up()"
JOINED, OPENED = "joined.", "begins at step"
"""Words of the training processes' log lines."""


@dataclass
class Case:
    """One kind of failure."""

    name: str
    strike: Callable[[], None]
    role: str = "trainer"
    """Whose pods or processes are killed."""
    size: int | None = None
    """Trainer pods that the first new step must be trained with."""
    found: list[dict[str, float]] = field(default_factory=list)

    @property
    def restarts(self) -> bool:
        """Whether the trainer begins another attempt."""
        return self.role == "trainer"

    def row(self) -> dict[str, float]:
        names = ("detect", "decide", "restart", "load", "step")
        return {
            name: round(median(known), 1)
            for name in names
            if (known := [one[name] for one in self.found if name in one])
        }


class Measured:
    """The items of one case, from the statuses that follow its fault."""

    def __init__(self, bench: Bench, case: Case) -> None:
        self.bench, self.case = bench, case
        self.before = bench.look()
        self.began, self.wall = time.monotonic(), time.time()
        self.items: dict[str, float] = {}
        self._first_step: int | None = None
        self._down = False
        case.strike()

    def ended(self, now: Seen) -> bool:
        """Takes a status; true with the first new step."""
        passed, before, case = now.time - self.began, self.before, self.case
        down = not now.up(case.role)
        again = now.attempt > before.attempt and case.size in (None, now.size)
        if down or (now.attempt, now.size, now.failure) != (
            before.attempt,
            before.size,
            before.failure,
        ):
            self.items.setdefault("detect", passed)
        if again and case.restarts:
            self.items.setdefault("decide", passed)
            # Steps of the attempt before may be reported until its end.
            self._first_step = now.step if self._first_step is None else self._first_step
        self._down |= down
        if self._down and not down and not case.restarts:
            self.items.setdefault("restart", passed)
        if not case.restarts:
            return now.step > before.step
        return self._first_step is not None and again and now.step > self._first_step

    def finish(self, now: Seen) -> dict[str, float]:
        """All items of a case that has ended with this status; its case keeps and shows them."""
        self.items["step"] = now.time - self.began
        if self.case.restarts:
            for name, words in (("restart", JOINED), ("load", OPENED)):
                times = self.bench.log_times(now.attempt, words)
                if times:
                    self.items[name] = max(times) - self.wall
        self.case.found.append(self.items)
        shown = "  ".join(f"{name} {seconds:.1f} s" for name, seconds in self.items.items())
        print(f"{self.case.name:>34}  {shown}", flush=True)
        return self.items


def measure(bench: Bench, case: Case) -> bool:
    """Two steps first: what came before must not be measured. False if no step comes after it."""
    calm = bench.look()
    try:
        bench.until(
            "two calm steps",
            lambda now: now.step >= calm.step + 2 and now.up(case.role),
            CASE_SECONDS,
        )
        measured = Measured(bench, case)
        last = bench.until(f"a step after {case.name}", measured.ended, CASE_SECONDS)
    # The next case may still show something.
    except (TimeoutError, RuntimeError, DemoError) as error:
        print(f"{case.name:>34}  failed: {error}", flush=True)
        return False
    measured.finish(last)
    return True


def cases(bench: Bench) -> list[Case]:
    """In an order in which each leaves what the next one needs."""
    engine, coordinator = "sea_runtime.rollout.server", "sea_runtime.coordinator"
    ledger = (f"{bench.name}-coordinator-0", "--force", "--grace-period=0")
    return [
        Case("trainer process", lambda: bench.kill("sea_runtime.trainer.process")),
        Case("trainer pod", lambda: bench.delete_pod(f"{bench.name}-trainer-1")),
        Case("node gone", bench.lose_node, size=1),
        Case("node back", bench.return_node, size=2),
        Case("rollout engine", lambda: bench.kill(engine), "rollout"),
        Case("coordinator process", lambda: bench.kill(coordinator), "coordinator"),
        Case("coordinator pod, ledger", lambda: bench.delete_pod(*ledger), "coordinator"),
    ]


def with_operator(bench: Bench, case: Case) -> Case:
    """The same with the operator killed in the same moment."""

    def strike() -> None:
        case.strike()
        bench.kill_operator()

    return Case(f"{case.name} + operator", strike, case.role, case.size)


def import_seconds() -> float:
    """What a training process takes to import its libraries."""
    started = time.monotonic()
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", IMPORTS]
    subprocess.run(command, env=environment, check=True, timeout=300.0)
    return time.monotonic() - started


def simulated() -> dict[str, float]:
    """Goodput of the reference job on 80 GPUs, by hours between two failures of the trainer and of
    each engine: its step without failures over its step with them."""
    file = ROOT / "examples" / "areal-sea-235b.yaml"
    spec = Spec.model_validate(yaml.safe_load(file.read_text())["spec"])
    plan = job_plan.plan(spec, plan_scaling.known(spec))
    rl = next(stage.rl for stage in spec.stages if stage.rl)
    pipeline = plan_scaling.modes(plan, rl)["asynchronous, staleness 2"]
    calm = simulation.simulate(pipeline, SIMULATED_STEPS).step_seconds
    found = {}
    for hours in (24, 4, 1):
        seconds = 3600.0 * hours
        often = Failures(engine_every_s=seconds, trainer_every_s=seconds)
        failing = replace(pipeline, failures=often)
        found[str(hours)] = round(
            calm / simulation.simulate(failing, SIMULATED_STEPS).step_seconds, 3
        )
    return found


def print_timeline(bench: Bench) -> None:
    start = bench.timeline[0].time
    print(f"\n{'seconds':>8}  {'attempt':>7}  {'size':>4}  {'step':>5}  reward")
    for seen in bench.timeline:
        reward = "" if seen.reward is None else f"{seen.reward:.2f}"
        row = f"{seen.time - start:>8.0f}  {seen.attempt:>7}  {seen.size:>4}  {seen.step:>5}"
        print(f"{row}  {reward}")


def rows_of(done: list[Case]) -> dict[str, dict[str, float]]:
    """Medians of the items by case, of those that were measured."""
    return {case.name: case.row() for case in done if case.found}


def beyond(rows: dict[str, dict[str, float]], imports: float) -> float | None:
    """The longest time to the first new step, less that of the imports; None without a case."""
    return round(max(row["step"] for row in rows.values()) - imports, 1) if rows else None


def main() -> int:
    if os.environ.get("GOODPUT"):
        import goodput  # which imports this file

        return goodput.main()
    if os.environ.get("TIMELINE"):
        import timeline

        return timeline.main()
    if os.environ.get("ROLLBACK"):
        import rollback

        return rollback.main()
    runs = int(os.environ.get("RUNS") or 1)
    ends = time.monotonic() + 60 * float(os.environ.get("MINUTES") or 600)
    chosen = [name.strip() for name in (os.environ.get("CASES") or "").split(";") if name.strip()]
    with two_nodes(f"recovery-{os.getpid()}") as cluster:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(cluster, Path(folder), NAME, RL)
        bench.until("the first two steps", lambda now: now.step >= 2)
        known = cases(bench)
        if os.environ.get("OPERATOR") != "0":
            known += [Case("operator", bench.kill_operator, "operator")]
            known += [with_operator(bench, case) for case in known[:-1]]
        todo = [one for one in known if not chosen or one.name in chosen]
        failed, left_out = [], []
        for case in todo * runs:
            if time.monotonic() > ends:
                left_out.append(case.name)
            elif not measure(bench, case):
                failed.append(case.name)
        status = bench.read()["status"]
        print_timeline(bench)
        imports = import_seconds()
    rows = rows_of(todo)
    result: dict[str, Any] = {
        "cases": rows,
        "runs": max((len(case.found) for case in todo), default=0),
        "import_s": round(imports, 1),
        "beyond_import_s": beyond(rows, imports),
        "failed": failed,
        "left_out": left_out,
        "goodput": status.get("goodput"),
        "steps": status.get("step"),
        "load": [round(one, 1) for one in os.getloadavg()],
    }
    # After the cluster: it takes a minute of a core.
    if os.environ.get("SIMULATION") != "0":
        result["simulated_80_gpus"] = simulated()
    print(json.dumps(result))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
