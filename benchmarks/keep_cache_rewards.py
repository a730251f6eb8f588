"""`make bench-keep-cache REWARDS=1`: what `weights.keepCache` changes in reward, in one job.

The demo's job (examples/tiny.yaml) on a devcluster, whose RL stage runs twice from the same weights
of its SFT stage: first with caches dropped at each update, then, after an edit of
`weights.keepCache`, with caches kept. Each is followed by an evaluation on held-out tasks. Prints a
row per RL stage; the last line is one JSON object. STEPS=N for fewer steps than the demo's.
"""

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml
from late_engine import NAMESPACE, Job, is_complete

from sea_devcluster.cluster import DevCluster, Options
from sea_devcluster.demo import job as demo_job
from sea_devcluster.demo import run as demo_run
from sea_devcluster.demo.kubectl import Kubectl
from sea_devcluster.demo.object_store import RunObjects
from sea_devcluster.demo.options import ROOT
from sea_devcluster.demo.report import scores
from sea_devcluster.demo.target import devcluster_target
from sea_devcluster.interrupts import raise_on_signals

DROPS, KEEPS = "rl-drops", "rl-keeps"
METRICS = ("reward", "logprob_max_diff", "importance_mean", "importance_max", "approx_kl")


def stages(steps: int) -> list[dict[str, Any]]:
    """Those of the demo up to RL, then RL and evaluation twice."""
    example = yaml.safe_load((ROOT / "examples" / "tiny.yaml").read_text())
    found = {stage["name"]: stage for stage in example["spec"]["stages"]}
    rl = {**found["rl"], "rl": {**found["rl"]["rl"], "steps": steps}}
    return [
        found["user-sft"],
        found["sft"],
        {**rl, "name": DROPS},
        {**found["eval-rl"], "name": f"eval-{DROPS}"},
        {**rl, "name": KEEPS, "startFrom": "sft"},
        {**found["eval-rl"], "name": f"eval-{KEEPS}"},
    ]


def measured(rows: Sequence[dict[str, Any]], stage: str) -> dict[str, float]:
    """Means over the stage's steps; the reward also over its last quarter."""
    steps = {row["step"]: row["metrics"] for row in rows if row["stage"] == stage}
    found = [steps[number] for number in sorted(steps)]
    means = {name: round(fmean(step[name] for step in found), 6) for name in METRICS}
    last = found[-max(1, len(found) // 4) :]
    return means | {"reward_last_quarter": round(fmean(step["reward"] for step in last), 4)}


def run(cluster: DevCluster, folder: Path, steps: int) -> dict[str, Any]:
    job = Job(cluster, folder, "keep-cache", "tiny", stages=stages(steps))
    # No version is published between the two RL stages.
    job.until("the first RL stage", lambda status: status.get("stage") in (f"eval-{DROPS}", KEEPS))
    patch = json.dumps({"spec": {"weights": {"keepCache": True}}})
    job.kubectl.run(
        *("-n", NAMESPACE, "patch", "seatrainingjob", job.name, "--type=merge", "-p", patch)
    )
    job.until("Complete", is_complete)
    status = job.status()
    rows = RunObjects(status["runUrl"], job.target.server).metrics()
    found: dict[str, Any] = {stage: measured(rows, stage) for stage in (DROPS, KEEPS)}
    for score in scores(status):
        stage = score.stage.removeprefix("eval-")
        found[stage] |= {
            "pass1": round(score.pass1, 1),
            "pass1_error": round(score.standard_error, 1),
        }
    for stage, one in found.items():
        print(f"  {stage}, {steps} steps: {one}")
    return found


def main() -> int:
    raise_on_signals()  # the cluster is taken down whatever ends the program
    steps = int(os.environ.get("STEPS") or 34)
    cluster = DevCluster(f"keep-cache-{os.getpid()}", options=Options(), persistent=False)
    cluster.up()
    try:
        with tempfile.TemporaryDirectory() as folder:
            target = devcluster_target(cluster)
            demo_run.install(Kubectl(target.kubectl, target.kubeconfig), target)
            demo_job.generate(demo_job.data_arguments("shop"), Path(folder))
            found = run(cluster, Path(folder), steps)
    finally:
        cluster.down()
    print(json.dumps({"keep_cache_rewards": found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
