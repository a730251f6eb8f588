"""A whole small job over HTTP: five stages, two workers, one trainer, real S3, real SQLite."""

import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from sea_testing.coordinator.crew import crew, everybody
from sea_testing.coordinator.job import Job

pytestmark = pytest.mark.component


def groups(job: Job) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(job.data_dir / "ledger.sqlite")) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM groups ORDER BY number")]


def test_five_stages_run_to_the_end(job: Job) -> None:
    """UserSFT, SFT, Evaluation, RL, Evaluation; nothing counted twice, reports in the store."""
    spec = job.spec()
    job.start()
    trainer, second, *workers, user = everybody(job)
    with crew(job, spec, trainer, second, *workers, user) as operator:
        operator.finishes()
        state = job.state()
        timeline = json.loads(job.get("/v1/timeline").data)
    assert [stage.phase for stage in state.stages] == ["Complete"] * 5
    assert [stage.step for stage in state.stages] == [3, 3, 24, 5, 24]
    assert state.weights is not None
    assert state.weights.published == 1 + 5
    assert {span["kind"] for span in timeline} >= {"generate", "train"}
    assert [item.stage for item in state.evaluation] == ["eval-sft"] * 2 + ["eval-rl"] * 2
    used = [group for step in range(1, 6) for group in trainer.groups["rl", step]]
    assert len(used) == len(set(used)) == 15
    covered = [row["id"] for row in groups(job) if row["state"] == "Covered"]
    assert sorted(covered) == sorted(used)
    reports = {item.url.removeprefix(job.run_url + "/") for item in job.store.list(job.run_url)}
    assert reports >= {
        "evaluation/eval-sft.json",
        "evaluation/eval-rl.episodes.jsonl",
        "evaluation/eval-rl.html",
        "reports/metrics.jsonl",
        *(f"rollouts/rl/step-{step:06d}.episodes.jsonl" for step in range(1, 6)),
        "run.json",
        "reports/timeline.json",
        "base/READY.json",
        "weights/user/v000001/registry.json",
    }
    lines = job.store.get(f"{job.run_url}/evaluation/eval-rl.episodes.jsonl").splitlines()
    assert len(lines) == 24
    metrics = job.store.get(f"{job.run_url}/reports/metrics.jsonl").splitlines()
    steps = [(row["stage"], row["step"]) for row in map(json.loads, metrics)]
    assert len(steps) == len(set(steps)) == 3 + 3 + 5
    assert state.model_url == f"{job.run_url}/stages/rl/export/"
    assert job.get("/v1/state", token="wrong").status == 401
