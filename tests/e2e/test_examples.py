"""The shipped examples of whole datasets, as they are, from their first stage to Complete."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sea_devcluster.demo import job as demo_job
from sea_devcluster.demo import object_store
from sea_devcluster.demo.object_store import RunObjects

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(5400)]

EXAMPLES = Path(__file__).parents[2] / "examples"


def _complete(
    e2e: Any, wait_for: Callable[..., Any], condition: Callable[..., Any], job: Any
) -> RunObjects:
    read = e2e.submit(job)
    name = job["metadata"]["name"]
    wait_for(f"{name}'s end", lambda: condition(read(), "Complete")["status"] == "True")
    status: dict[str, Any] = read()["status"]
    assert status["restarts"]["counted"] == 0
    objects: RunObjects = e2e.objects(status)
    page = objects.read("evaluation/eval-rl.html").decode()
    assert "<html" in page[:200]
    lines = objects.read("evaluation/eval-rl.episodes.jsonl").splitlines()
    assert len(lines) == 8
    # A user model of a few steps may end a dialogue before the agent's first turn: no verdict.
    judged = sum(json.loads(line)["reward"] is not None for line in lines)
    results = status.get("evaluation", [])
    assert judged == (results[-1]["episodes"] if results else 0)
    e2e.delete(job)
    return objects


def test_a_job_makes_its_own_data_in_three_domains(
    e2e: Any, wait_for: Callable[..., Any], condition: Callable[..., Any]
) -> None:
    """Synthesis, UserSFT, SFT, RL, Evaluation; four training processes share the model."""
    job = demo_job.load(EXAMPLES / "worlds.yaml", e2e.target.server)
    split = {"tensor": 2, "pipeline": 2, "expert": 2}
    job["spec"]["trainer"] |= {"replicas": 4, "parallelism": split}
    object_store.ensure_bucket(job, e2e.target.server)
    objects = _complete(e2e, wait_for, condition, job)
    for domain in job["spec"]["domains"]:
        rows = objects.read(f"stages/synthesis/data/{domain}/rl.jsonl").splitlines()
        assert len(rows) == job["spec"]["stages"][0]["synthesis"]["tasksPerDomain"]


def test_the_retail_desk_of_tau2(
    e2e: Any,
    wait_for: Callable[..., Any],
    condition: Callable[..., Any],
    tau2: Path,
    tmp_path: Path,
) -> None:
    """Its policy, tools and tasks: prompts of thousands of tokens."""
    data = tmp_path / "retail"
    folder = str(tau2 / "retail")
    demo_job.generate(
        ["tau2", "--domain", "retail", "--data", folder, "--drop-nl-assertions"], data
    )
    job = copy.deepcopy(demo_job.load(EXAMPLES / "retail.yaml", e2e.target.server))
    object_store.upload(data, job, e2e.target.server)
    _complete(e2e, wait_for, condition, job)
