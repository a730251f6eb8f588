"""`GOODPUT=30 make bench-recovery`: that many minutes with a failure every two minutes.

The same stage twice on one devcluster of two nodes: undisturbed for three quarters of the time,
then with failures of all kinds in turn (`recovery.py`). Goodput is the disturbed run's steps per
second over the undisturbed one's. STAGE=SFT trains a supervised stage, whose losses follow from
weights and data alone: those of equal steps must be equal within 1e-5, whatever failed in between.
STAGE=RL, the default, shows the mean rewards of the last quarter. EVERY is the time between two
failures in seconds. Prints a row per failure, and one JSON object as its last line.
"""

import json
import os
import tempfile
import time
from pathlib import Path
from statistics import mean
from typing import Any

from recovery import Case, cases
from recovery_job import NAMESPACE, RL, Bench, two_nodes

from sea_devcluster.cluster import DevCluster
from sea_devcluster.demo.object_store import RunObjects
from sea_devcluster.errors import DemoError

SFT = {
    "name": "sft",
    "type": "SFT",
    "sft": {"batchSize": 16, "learningRate": 0.001, "epochs": 1000, "maxSteps": 100000},
}
CALM_SHARE = 0.75
POLL_SECONDS = 0.5
Rows = dict[int, dict[str, float]]
"""Metrics by step; a step that was trained again counts once, as it was trained last."""


def main() -> int:
    minutes = float(os.environ["GOODPUT"])
    every = float(os.environ.get("EVERY") or 120)
    supervised = (os.environ.get("STAGE") or "RL").upper() == "SFT"
    stage = SFT if supervised else RL
    with two_nodes(f"goodput-{os.getpid()}") as cluster:
        calm, calm_pace = train(cluster, "calm", stage, 60 * minutes * CALM_SHARE, None)
        rows, pace = train(cluster, "disturbed", stage, 60 * minutes, every)
    found: dict[str, Any] = {
        "minutes": minutes,
        "failure_every_s": every,
        "stage": stage["type"],
        "goodput": round(pace / calm_pace, 3),
        "steps": [len(calm), len(rows)],
        "load": [round(one, 1) for one in os.getloadavg()],
    }
    found |= losses(calm, rows) if supervised else rewards(calm, rows)
    print(json.dumps(found))
    return 0


def train(
    cluster: DevCluster, name: str, stage: dict[str, Any], seconds: float, every: float | None
) -> tuple[Rows, float]:
    """Metrics of a job's steps and its steps per second; with a failure each `every` seconds."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(cluster, Path(folder), name, stage)
    began = bench.until("the first two steps", lambda now: now.step >= 2)
    todo = [] if every is None else of_stage(cases(bench), stage)
    turn = 0
    while (passed := time.monotonic() - began.time) < seconds:
        if todo and every is not None and passed >= (turn + 1) * every:
            case = todo[turn % len(todo)]
            turn += 1
            note = strike(case)
            now = bench.look()
            print(
                f"{passed:>6.0f} s  {case.name:<24}  step {now.step}, {now.size} pods{note}",
                flush=True,
            )
        bench.look()
        time.sleep(POLL_SECONDS)
    ended = bench.look()
    rows = metrics(bench)
    bench.kubectl.run("delete", "seatrainingjob", "-n", NAMESPACE, name, "--wait=true")
    bench.return_node()
    return rows, (ended.step - began.step) / (ended.time - began.time)


def strike(case: Case) -> str:
    """Does it; says so if there is nothing to kill while the job recovers from the one before."""
    try:
        case.strike()
    except (RuntimeError, DemoError) as error:
        return f"  not possible now: {error}"
    return ""


def of_stage(known: list[Case], stage: dict[str, Any]) -> list[Case]:
    """A supervised stage has no engines to kill."""
    return [one for one in known if stage["type"] == "RL" or one.role != "rollout"]


def metrics(bench: Bench) -> Rows:
    objects = RunObjects(bench.read()["status"]["runUrl"], bench.target.server)
    return {row["step"]: row["metrics"] for row in objects.metrics()}


def losses(calm: Rows, rows: Rows) -> dict[str, Any]:
    common = sorted(calm.keys() & rows.keys())
    apart = [abs(calm[step]["loss"] - rows[step]["loss"]) for step in common]
    return {
        "common_steps": len(common),
        "last_losses": [calm[common[-1]]["loss"], rows[common[-1]]["loss"]],
        "max_loss_difference": max(apart),
    }


def rewards(calm: Rows, rows: Rows) -> dict[str, Any]:
    last = min(max(calm), max(rows))
    steps = range(last - last // 4, last + 1)
    found = (
        [one[step]["reward"] for step in steps if step in one and "reward" in one[step]]
        for one in (calm, rows)
    )
    return {"reward_of_last_quarter": [round(mean(one), 3) if one else None for one in found]}
