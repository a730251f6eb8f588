"""A job is suspended in the middle, holds no pod, and goes on where it stopped when resumed."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(5400)]

STEPS = 100
STAGES = [
    {
        "name": "sft",
        "type": "SFT",
        "sft": {"batchSize": 8, "learningRate": 0.002, "epochs": 9, "maxSteps": STEPS},
    }
]


def test_suspended_job_goes_on_from_its_last_step(
    e2e: Any,
    wait_for: Callable[..., Any],
    condition: Callable[..., dict[str, Any]],
) -> None:
    manifest = e2e.manifest(
        "sleeper",
        STAGES,
        checkpoint={"everySteps": 20, "keepLast": 2},
        userModel={"engine": "Scripted"},
    )
    e2e.upload(manifest)
    read = e2e.submit(manifest)
    wait_for("the fifth step", lambda: read().get("status", {}).get("step", 0) >= 5)

    asleep = copy.deepcopy(manifest)
    asleep["spec"]["suspend"] = True
    e2e.edit(asleep)
    wait_for("Suspended", lambda: condition(read(), "Suspended")["status"] == "True")
    wait_for("all pods gone", lambda: not e2e.pods("sleeper"))
    assert not e2e.processes("sleeper", "sea_runtime")
    status = read()["status"]
    stopped_at = status["checkpoint"]["step"]
    assert stopped_at == status["step"] >= 5  # nothing was lost: the last step is committed

    e2e.edit(manifest)
    wait_for("the job's end", lambda: condition(read(), "Complete")["status"] == "True")
    rows = [row for row in e2e.objects(read()["status"]).metrics() if row["stage"] == "sft"]
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))  # none twice
    assert read()["status"]["restarts"]["counted"] == 0
    e2e.delete(manifest)
