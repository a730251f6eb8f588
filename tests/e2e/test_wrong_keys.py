"""Keys of the object store that are wrong: the job says so, and goes on once they are corrected."""

from collections.abc import Callable
from typing import Any

import pytest

from sea_devcluster.demo import job as demo_job

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(5400)]

STAGES = [
    {"name": "sft", "type": "SFT", "sft": {"batchSize": 4, "learningRate": 0.002, "maxSteps": 1}}
]
WRONG = "wrong-wrong-wrong-wrong"


def test_corrected_keys_reach_the_pods_without_an_edit_of_the_job(
    e2e: Any,
    wait_for: Callable[..., Any],
    condition: Callable[..., dict[str, Any]],
) -> None:
    manifest = e2e.manifest("locked", STAGES, userModel={"engine": "Scripted"})
    e2e.upload(manifest)
    e2e.prepare(manifest)
    secret = demo_job.credentials_secret(manifest, e2e.target.server)
    secret["stringData"]["AWS_SECRET_ACCESS_KEY"] = WRONG
    e2e.kubectl.apply_object(secret)
    e2e.edit(manifest)
    read = e2e.reader(manifest)
    stalled = wait_for("Stalled", lambda: _true(condition(read(), "Stalled")))
    assert "credentialsSecret" in stalled["message"]
    assert WRONG not in stalled["message"]
    before = {pod["metadata"]["uid"] for pod in e2e.pods("locked")}
    assert before

    e2e.prepare(manifest)
    wait_for("the job's end", lambda: _true(condition(read(), "Complete")))
    assert read()["status"]["restarts"]["counted"] == 0
    e2e.delete(manifest)


def _true(found: dict[str, Any]) -> dict[str, Any] | None:
    return found if found["status"] == "True" else None
