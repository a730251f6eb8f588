"""`ROLLBACK=1 make bench-recovery`: a job that goes back, and one that starts from its checkpoint.

A supervised stage of 40 steps with a checkpoint every 5. At step 20 `checkpoint.rollbackTo` sends
it back to step 10, and it trains to its end; then another job starts from the first one's
checkpoint of step 10 (`startFrom`). Losses of a supervised stage follow from weights and data
alone, so both must repeat those of the line that was left, and the first job's own: prints the
largest differences, the seconds from the edit until `status.rollback` is `Done` and until the first
new step, and the seconds that the other job takes to its first step. The last line is one JSON
object. Three minutes on two free cores.
"""

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from recovery_job import NAMESPACE, Bench, two_nodes

from sea_devcluster.cluster import DevCluster
from sea_devcluster.demo.object_store import RunObjects

STEPS, BACK_AT, BACK_TO, EVERY = 40, 20, 10, 5
SFT = {
    "name": "sft",
    "type": "SFT",
    "sft": {"batchSize": 16, "learningRate": 0.001, "epochs": 1000, "maxSteps": STEPS},
}
CHECKPOINT = {"everySteps": EVERY, "keepLast": STEPS}
TOLERANCE = 1e-5
Losses = dict[int, float]


def main() -> int:
    with two_nodes(f"rollback-{os.getpid()}") as cluster:
        first = job(cluster, "first")
        left, back = go_back(first)
        again = losses(first)
        run_url = first.read()["status"]["runUrl"]
        began = time.monotonic()
        second = job(cluster, "second", startFrom={"run": run_url, "stage": "sft", "step": BACK_TO})
        ready = second.until("its first step", lambda now: now.step > BACK_TO).time - began
        complete(second)
        other = losses(second)
    found: dict[str, Any] = {
        "rollback": {**back, "loss_difference": difference(left, again, BACK_TO)},
        "start_from": {
            "first_step_s": round(ready, 1),
            "first_step": min(other),
            "loss_difference": difference(again, other, BACK_TO),
        },
        "load": [round(one, 1) for one in os.getloadavg()],
    }
    print(json.dumps(found))
    right = min(other) == BACK_TO + 1 and all(
        found[name]["loss_difference"] <= TOLERANCE for name in ("rollback", "start_from")
    )
    return 0 if right else 1


def job(cluster: DevCluster, name: str, **spec: Any) -> Bench:
    with tempfile.TemporaryDirectory() as folder:
        return Bench(cluster, Path(folder), name, SFT, checkpoint=CHECKPOINT, **spec)


def go_back(bench: Bench) -> tuple[Losses, dict[str, float]]:
    """Losses before it goes back, and the seconds that this takes."""
    bench.until(f"step {BACK_AT}", lambda now: now.step >= BACK_AT)
    left = losses(bench)
    edit = {"spec": {"checkpoint": {"rollbackTo": {"stage": "sft", "step": BACK_TO}}}}
    patch = ("--type=merge", "-p", json.dumps(edit))
    # Before the edit: the operator begins another attempt within a second of it.
    before = bench.look().attempt
    bench.kubectl.run("patch", "seatrainingjob", bench.name, "-n", NAMESPACE, *patch)
    began = time.monotonic()
    bench.until("going back", lambda _: _state(bench) in ("Done", "Refused"))
    if _state(bench) != "Done":
        raise RuntimeError(f"the request was refused: {bench.read()['status']['rollback']}")
    done = time.monotonic() - began
    bench.until("a new step", lambda now: now.attempt > before and BACK_TO < now.step < STEPS)
    step = time.monotonic() - began
    complete(bench)
    went = bench.read()["status"]["lastRollback"]
    print(f"went back from step {went['fromStep']} to {went['step']}", flush=True)
    return left, {"done_s": round(done, 1), "step_s": round(step, 1)}


def _state(bench: Bench) -> str:
    return str((bench.read()["status"].get("rollback") or {}).get("state"))


def complete(bench: Bench) -> None:
    def holds(_: object) -> bool:
        conditions = bench.read()["status"].get("conditions", [])
        return any(one["type"] == "Complete" and one["status"] == "True" for one in conditions)

    bench.until("its end", holds)


def losses(bench: Bench) -> Losses:
    objects = RunObjects(bench.read()["status"]["runUrl"], bench.target.server)
    return {row["step"]: row["metrics"]["loss"] for row in objects.metrics()}


def difference(one: Losses, other: Losses, after: int) -> float:
    """The largest, relative, over the steps after `after` that both have."""
    steps = [step for step in one.keys() & other.keys() if step > after]
    if not steps:
        raise RuntimeError(f"no step after {after} in both of {sorted(one)} and {sorted(other)}")
    return max(abs(one[step] - other[step]) / abs(one[step]) for step in steps)
