"""S3 is gone for half a minute, and a trainer dies meanwhile: work waits, then goes on."""

import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from sea_runtime.trainer.checkpoint.head import index_name, state_name
from sea_runtime.trainer.checkpoint.index import RankIndex, checksums

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(5400)]

STEPS, OUTAGE_S = 60, 30.0
STAGES = [
    {
        "name": "sft",
        "type": "SFT",
        "sft": {"batchSize": 8, "learningRate": 0.002, "epochs": 9, "maxSteps": STEPS},
    }
]


def test_job_outlives_an_outage_of_the_object_store(
    e2e: Any,
    wait_for: Callable[..., Any],
    condition: Callable[..., dict[str, Any]],
) -> None:
    manifest = e2e.manifest(
        "stranded",
        STAGES,
        checkpoint={"everySteps": 4, "keepLast": 3},
        userModel={"engine": "Scripted"},
    )
    e2e.upload(manifest)
    read = e2e.submit(manifest)
    wait_for("a checkpoint", lambda: committed(read()) >= 8)

    e2e.cluster.s3.daemon.kill()
    gone = time.monotonic()
    victims = e2e.processes("stranded", "sea_runtime.trainer.process")
    victims[0].kill()
    wait_for("half a minute without S3", lambda: time.monotonic() - gone >= OUTAGE_S)
    assert condition(read(), "Complete")["status"] != "True"
    e2e.cluster.s3.start()

    wait_for("the job's end", lambda: condition(read(), "Complete")["status"] == "True")
    status = read()["status"]
    assert status["trainerAttempt"] == 2
    objects = e2e.objects(status)
    rows = [row for row in objects.metrics() if row["stage"] == "sft"]
    assert {row["step"] for row in rows} == set(range(1, STEPS + 1))
    check_checkpoints(objects)
    e2e.delete(manifest)


def committed(job: dict[str, Any]) -> int:
    """Step of the newest committed checkpoint."""
    return int((job.get("status", {}).get("checkpoint") or {}).get("step", 0))


def check_checkpoints(objects: Any) -> None:
    """Every committed checkpoint is whole: each object is what its manifest or its index says."""
    head = json.loads(objects.read("stages/sft/checkpoints/head.json"))
    assert head["attempt"] == 2
    assert head["checkpoints"][-1]["step"] == STEPS
    for entry in head["checkpoints"]:
        manifest = json.loads(objects.read_absolute(entry["manifest_key"]))
        bodies = {one["name"]: objects.read_absolute(one["key"]) for one in manifest["objects"]}
        assert bodies.keys() >= {state_name(0), state_name(1), index_name(0), index_name(1)}
        for file in manifest["objects"]:
            body = bodies[file["name"]]
            assert len(body) == file["size"]
            if file["sha256"]:
                assert hashlib.sha256(body).hexdigest() == file["sha256"]
            else:
                described = bodies[file["name"].replace(".state", ".json")]
                index = RankIndex.model_validate_json(described)
                assert index.pieces == list(checksums(memoryview(body)))
