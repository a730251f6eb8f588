"""`GOODPUT=30 make bench-recovery`: that many minutes with a failure every two minutes.

The same stage twice on one devcluster of two nodes: undisturbed for CALM minutes (three quarters of
the time if not given), then with failures of all kinds in turn (`recovery.py`), the second time
together with the operator (OPERATOR=1: from the first one on). Goodput is the disturbed run's steps
per second over the undisturbed one's. STAGE=SFT trains a supervised stage, whose losses follow from
weights and data alone: those of equal steps must be equal within 1e-5, whatever failed in between.
(At ten times its learning rate the 1e-7 that another size of the trainer makes grew to 0.09 within
1,400 steps, when the rows were known by heart.) STAGE=RL, the default, shows the mean rewards of
the last quarter. EVERY is the time between two failures in seconds. Prints a row of items per
failure, and one JSON object as its last line; `unrecovered` names failures after which no step came
before the next one.
"""

import json
import os
import tempfile
import time
from pathlib import Path
from statistics import mean
from typing import Any

from recovery import Case, Measured, cases, rows_of, with_operator
from recovery_job import NAMESPACE, RL, Bench, two_nodes

from sea_devcluster.cluster import DevCluster
from sea_devcluster.demo.object_store import RunObjects
from sea_devcluster.errors import DemoError

SFT = {
    "name": "sft",
    "type": "SFT",
    "sft": {"batchSize": 16, "learningRate": 0.0001, "epochs": 1000, "maxSteps": 100000},
}
CALM_SHARE = 0.75
POLL_SECONDS = 0.5
Rows = dict[int, dict[str, float]]
"""Metrics by step; a step that was trained again counts once, as it was trained last."""


def main() -> int:
    minutes = float(os.environ["GOODPUT"])
    calm_minutes = float(os.environ.get("CALM") or minutes * CALM_SHARE)
    every = float(os.environ.get("EVERY") or 120)
    supervised = (os.environ.get("STAGE") or "RL").upper() == "SFT"
    stage = SFT if supervised else RL
    failures = Turns(every)
    with two_nodes(f"goodput-{os.getpid()}") as cluster:
        calm, calm_pace = train(cluster, "calm", stage, 60 * calm_minutes, None)
        rows, pace = train(cluster, "disturbed", stage, 60 * minutes, failures)
    found: dict[str, Any] = {
        "minutes": minutes,
        "failure_every_s": every,
        "stage": stage["type"],
        "goodput": round(pace / calm_pace, 3),
        "steps": [len(calm), len(rows)],
        "failures": failures.turn,
        "cases": rows_of(failures.todo),
        "unrecovered": failures.unrecovered,
        "load": [round(one, 1) for one in os.getloadavg()],
    }
    found |= losses(calm, rows) if supervised else rewards(calm, rows)
    print(json.dumps(found))
    return 1 if failures.unrecovered else 0


class Turns:
    """The failures of a run: each kind alone, then each together with the operator."""

    def __init__(self, every: float) -> None:
        self.every, self.turn = every, 0
        self.todo: list[Case] = []
        self.unrecovered: list[str] = []
        self._recovering: Measured | None = None

    def prepare(self, bench: Bench, stage: dict[str, Any]) -> None:
        known = of_stage(cases(bench), stage)
        both = [with_operator(bench, case) for case in known]
        self.todo = both if os.environ.get("OPERATOR") == "1" else known + both

    def look(self, bench: Bench, passed: float) -> None:
        """Takes a status, `passed` seconds after the beginning; strikes if a failure is due."""
        now = bench.look()
        if self._recovering is not None and self._recovering.ended(now):
            self._recovering.finish(now)
            self._recovering = None
        if passed < (self.turn + 1) * self.every:
            return
        if self._recovering is not None:
            self.unrecovered.append(self._recovering.case.name)
        case = self.todo[self.turn % len(self.todo)]
        self.turn += 1
        try:
            self._recovering = Measured(bench, case)
        except (RuntimeError, DemoError) as error:
            # Nothing to kill while the job recovers from the failure before.
            self._recovering = None
            print(f"{case.name:>34}  not possible now: {error}", flush=True)


def train(
    cluster: DevCluster, name: str, stage: dict[str, Any], seconds: float, failures: Turns | None
) -> tuple[Rows, float]:
    """Metrics of a job's steps and its steps per second."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(cluster, Path(folder), name, stage)
    began = bench.until("the first two steps", lambda now: now.step >= 2)
    if failures is not None:
        failures.prepare(bench, stage)
    while (passed := time.monotonic() - began.time) < seconds:
        if failures is not None:
            failures.look(bench, passed)
        time.sleep(POLL_SECONDS)
    ended = bench.look()
    pace = (ended.step - began.step) / (ended.time - began.time)
    print(f"{name}: step {ended.step} after {ended.time - began.time:.0f} s", flush=True)
    rows = metrics(bench)
    if failures is None:
        # The other job needs its pods' room; after that one the cluster ends.
        bench.kubectl.run("delete", "seatrainingjob", "-n", NAMESPACE, name, "--wait=true")
    return rows, pace


def of_stage(known: list[Case], stage: dict[str, Any]) -> list[Case]:
    """A supervised stage has no engines to kill."""
    return [one for one in known if stage["type"] == "RL" or one.role != "rollout"]


def metrics(bench: Bench) -> Rows:
    """What the coordinator has stored of them, which may lack the newest steps."""
    objects = RunObjects(bench.read()["status"]["runUrl"], bench.target.server)
    return {row["step"]: row["metrics"] for row in objects.metrics()}


def losses(calm: Rows, rows: Rows) -> dict[str, Any]:
    common = sorted(calm.keys() & rows.keys())
    if not common:
        return {"common_steps": 0}
    apart = {step: abs(calm[step]["loss"] - rows[step]["loss"]) for step in common}
    tenth = -(-len(common) // 10)
    for steps in (common[at : at + tenth] for at in range(0, len(common), tenth)):
        worst = max(steps, key=lambda step: apart[step])
        print(f"steps {steps[0]} to {steps[-1]}: losses at most {apart[worst]:.1e} apart")
    return {
        "common_steps": len(common),
        "last_losses": [calm[common[-1]]["loss"], rows[common[-1]]["loss"]],
        "max_loss_difference": max(apart.values()),
        "first_step_apart": next((step for step in common if apart[step] > 1e-5), None),
    }


def rewards(calm: Rows, rows: Rows) -> dict[str, Any]:
    last = min(max(calm, default=0), max(rows, default=0))
    steps = range(last - last // 4, last + 1)
    found = (
        [one[step]["reward"] for step in steps if step in one and "reward" in one[step]]
        for one in (calm, rows)
    )
    return {"reward_of_last_quarter": [round(mean(one), 3) if one else None for one in found]}
