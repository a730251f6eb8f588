"""`make demo CLUSTER=kubeconfig`: cluster, registry and S3 server are somebody else's."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(5400)]

STAGES = [
    {
        "name": "sft",
        "type": "SFT",
        "sft": {"batchSize": 4, "learningRate": 0.002, "maxSteps": 3},
    },
    {
        "name": "eval-sft",
        "type": "Evaluation",
        "evaluation": {
            "tasks": ["s3://sea/guest/data/rl_test.jsonl"],
            "trials": 1,
            "maxTasks": 4,
            "maxTokensPerTurn": 8,
            "maxTurns": 2,
        },
    },
]


def test_the_demo_runs_on_the_cluster_of_the_kubeconfig(e2e: Any, tmp_path: Path) -> None:
    manifest = e2e.manifest("guest", STAGES, userModel={"engine": "Scripted"})
    job = tmp_path / "guest.yaml"
    job.write_text(yaml.safe_dump(manifest))
    server = e2e.target.server
    environment = {
        **os.environ,
        "KUBECONFIG": str(e2e.cluster.kubeconfig),
        "PATH": f"{Path(e2e.target.kubectl).parent}:{os.environ['PATH']}",
        "SEA_REGISTRY": e2e.registry,
        "SEA_TAG": "dev",
        "SEA_S3_ENDPOINT": server.endpoint,
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
    }
    places = ["--job", job, "--data", e2e.data, "--out", tmp_path / "out"]
    command = [sys.executable, "-m", "sea_devcluster.demo", "--cluster", "kubeconfig", "--plain"]
    done = subprocess.run(
        [*command, *map(str, places)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "after SFT" in done.stdout
    assert "kubectl -n sea-demo get seatrainingjobs" in done.stdout
    assert "stages/sft/export\n" in done.stdout
    assert "<html" in (tmp_path / "out" / "evaluation.html").read_text()[:200]
    images = {
        container["image"]
        for pod in e2e.kubectl.get("pods", "-n", "sea-system")["items"]
        for container in pod["spec"]["containers"]
    }
    assert f"{e2e.registry}sea-operator/operator:dev" in images
    e2e.delete(manifest)
