"""`make bench-parallel-job`: examples/parallel.yaml from base model to exported, evaluated agent.

One job on a devcluster, whose four training processes share the model as tensor 2 x pipeline 2 x
expert 2. Its export is then loaded by transformers, by the trainer on one process and by vLLM
(`sea model check`), which must compute the same log-probabilities. The last line is one JSON object
with the largest `difference` of each two, what the evaluation counted, and the seconds.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from sea_devcluster import interrupts
from sea_devcluster.cluster import DevCluster, Options
from sea_devcluster.demo import job as demo_job
from sea_devcluster.demo import object_store
from sea_devcluster.demo import run as demo_run
from sea_devcluster.demo.kubectl import Kubectl, job_reader
from sea_devcluster.demo.object_store import RunObjects
from sea_devcluster.demo.options import ROOT
from sea_devcluster.demo.target import Target, devcluster_target

DATA = ["shop", "--seed", "0", "--dialogues", "200", "--train-tasks", "16", "--test-tasks", "8"]
TEXTS = ["Where is my order #W17?", "I'd like to exchange a lamp for a desk, please."]
WAIT_SECONDS = 1500.0
CHECK_SECONDS = 600.0
POLL_SECONDS = 1.0


def run_job(target: Target, folder: Path) -> dict[str, Any]:
    """Its status at the end; raises TimeoutError, or RuntimeError if it fails."""
    job = demo_job.load(ROOT / "examples" / "parallel.yaml", target.server)
    object_store.upload(folder, job, target.server)
    kubectl = Kubectl(target.kubectl, target.kubeconfig)
    demo_run.submit(kubectl, job, target)
    read = job_reader(target.kubeconfig, demo_job.namespace(job), job["metadata"]["name"])
    started, shown = time.monotonic(), ""
    status: dict[str, Any] = {}
    while (seconds := time.monotonic() - started) < WAIT_SECONDS:
        status = read().get("status", {})
        if (stage := f"{status.get('phase')} {status.get('stage', '')}") != shown:
            print(f"  {seconds:6.0f} s  {stage}", flush=True)
            shown = stage
        held = {one["type"] for one in status.get("conditions", []) if one["status"] == "True"}
        if "Failed" in held:
            raise RuntimeError(f"The job failed: {status['conditions']}")
        if "Complete" in held:
            return status
        time.sleep(POLL_SECONDS)
    raise TimeoutError(f"The job is not complete after {WAIT_SECONDS:.0f} s: {status}")


def download(objects: RunObjects, folder: Path) -> Path:
    """The export of the RL stage, in Hugging Face layout."""
    prefix = "stages/rl/export/"
    for name in objects.names(prefix):
        file = folder / name.removeprefix(prefix)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(objects.read(name))
    return folder


def compared(folder: Path) -> dict[str, float]:
    """Largest difference of one token's log-probability between each two programs."""
    texts = [part for text in TEXTS for part in ("--text", text)]
    program = Path(sys.executable).with_name("sea")
    # Its exit code says whether they agree; what they differ by is printed either way.
    done = subprocess.run(
        [str(program), "model", "check", str(folder), *texts, "--json"],
        check=False,
        capture_output=True,
        text=True,
        timeout=CHECK_SECONDS,
    )
    if not done.stdout.strip():
        raise RuntimeError(f"`sea model check` failed: {done.stderr[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return {f"{one['first']}, {one['second']}": one["largest"] for one in found["differences"]}


def main() -> int:
    # A signal must not leave the cluster behind.
    interrupts.raise_on_signals()
    cluster = DevCluster(f"parallel-job-{os.getpid()}", options=Options(), persistent=False)
    try:
        cluster.up()
        with tempfile.TemporaryDirectory() as folder:
            target = devcluster_target(cluster)
            demo_run.install(Kubectl(target.kubectl, target.kubeconfig), target)
            data, export = Path(folder) / "data", Path(folder) / "export"
            demo_job.generate(DATA, data)
            started = time.monotonic()
            status = run_job(target, data)
            seconds = round(time.monotonic() - started, 1)
            objects = RunObjects(status["runUrl"], target.server)
            steps = [row["metrics"] for row in objects.metrics()]
            export = download(objects, export)

            differences = compared(export)
    finally:
        cluster.down()
    for pair, largest in differences.items():
        print(f"{pair}: largest difference {largest:.2e}")
    engine = [step["logprob_max_diff"] for step in steps if "logprob_max_diff" in step]
    found = {
        "difference": differences,
        "difference_while_training": max(engine),
        "evaluation": status.get("evaluation", []),
        "restarts": status["restarts"]["counted"],
        "seconds": seconds,
    }
    print(json.dumps(found))
    return 0 if max(differences.values()) < 1e-3 else 1


if __name__ == "__main__":
    sys.exit(main())
