"""A job is deleted while it trains: no child and no process of it is left, its data are."""

import json
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(5400)]

KINDS = "statefulsets,services,secrets,pods"
STAGES = [
    {
        "name": "sft",
        "type": "SFT",
        # More steps than anybody waits for: the job is deleted at work, not after it.
        "sft": {"batchSize": 4, "learningRate": 0.002, "epochs": 1000, "maxSteps": 50_000},
    }
]


def test_a_deleted_job_leaves_nothing_but_its_data(e2e: Any, wait_for: Callable[..., Any]) -> None:
    manifest = e2e.manifest(
        "doomed",
        STAGES,
        checkpoint={"everySteps": 4, "keepLast": 2},
        userModel={"engine": "Scripted"},
    )
    e2e.upload(manifest)
    read = e2e.submit(manifest)
    wait_for("a checkpoint", lambda: (read().get("status", {}).get("checkpoint") or {}).get("step"))
    objects = e2e.objects(read()["status"])
    assert {"StatefulSet", "Service", "Secret", "Pod"} <= {one["kind"] for one in children(e2e)}
    assert e2e.processes("doomed", "sea_runtime")

    e2e.delete(manifest)
    wait_for("no child", lambda: not children(e2e))
    wait_for("no process", lambda: not e2e.processes("doomed", "sea_runtime"))
    namespace = manifest["metadata"]["namespace"]
    assert e2e.kubectl.get("secret", "s3-credentials", "-n", namespace)  # the user's own stays

    head = json.loads(objects.read("stages/sft/checkpoints/head.json"))
    saved = json.loads(objects.read_absolute(head["checkpoints"][-1]["manifest_key"]))
    for file in saved["objects"]:
        assert len(objects.read_absolute(file["key"])) == file["size"]
    assert objects.read_absolute("doomed/data/sft.jsonl")


def children(e2e: Any) -> list[dict[str, Any]]:
    """What the operator made for the job, and what was made of that."""
    found = e2e.kubectl.get(KINDS, "-A", "-l", "sea-operator.io/job=doomed")
    items: list[dict[str, Any]] = found["items"]
    return items
