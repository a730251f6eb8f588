"""The page that Prometheus reads."""

import re
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from sea_api.v1alpha1.status import Status
from sea_operator.metrics import PassMetrics, page
from sea_operator.observed import Job
from sea_operator.work_queue import WorkQueue

RUNNING = Status.model_validate(
    {
        "state": "Running",
        "stage": "rl",
        "step": 12,
        "totalSteps": 34,
        "trainerAttempt": 2,
        "reward": 0.5,
        "throughput": {"generated": 700, "trained": 1700},
        "checkpoint": {"version": 7, "step": 7, "time": "1970-01-01T00:01:00Z", "bytes": 1},
        "roles": {"rollout": {"desired": 4, "ready": 3}},
    }
)


PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def job(name: str, status: Status) -> Job:
    return Job(name, "research", f"uid-{name}", 1, "1", None, status)


def samples(text: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (one.name, frozenset(one.labels.items())): one.value
        for family in text_string_to_metric_families(text.decode())
        for one in family.samples
    }


def of(text: bytes, name: str, **labels: str) -> float | None:
    return samples(text).get((name, frozenset(labels.items())))


def of_job(text: bytes, name: str, **labels: str) -> float | None:
    return of(text, name, job_namespace="research", job_name="a", **labels)


def test_a_job_shows_what_its_status_says() -> None:
    text = page(PassMetrics(), [job("a", RUNNING)], 0.0, leads=True)
    assert of_job(text, "sea_job_state", state="Running", reason="") == 1
    assert of_job(text, "sea_job_step", stage="rl") == 12
    assert of_job(text, "sea_job_stage_steps", stage="rl") == 34
    assert of_job(text, "sea_job_trainer_attempt") == 2
    assert of_job(text, "sea_job_reward") == 0.5
    assert of_job(text, "sea_job_tokens_per_second", kind="trained") == 1700
    assert of_job(text, "sea_job_checkpoint_timestamp_seconds") == 60
    assert of_job(text, "sea_job_pods", role="rollout") == 4
    assert of_job(text, "sea_job_ready_pods", role="rollout") == 3


def test_what_a_status_does_not_say_has_no_sample() -> None:
    text = page(PassMetrics(), [job("a", Status())], 0.0, leads=True)
    assert not [name for name, _ in samples(text) if name.startswith("sea_job")]


def test_why_a_job_waits_is_a_label() -> None:
    waiting = Status(state="Stalled: MissingSecret")
    text = page(PassMetrics(), [job("a", waiting)], 0.0, leads=True)
    assert of_job(text, "sea_job_state", state="Stalled", reason="MissingSecret") == 1


def test_only_the_process_that_leads_shows_jobs_and_lateness() -> None:
    """A standby was late by as long as it had been one, as if overloaded."""
    text = page(PassMetrics(), [job("a", RUNNING)], 3600.0, leads=False)
    assert of(text, "sea_operator_leader") == 0
    assert of(text, "sea_operator_pass_lateness_seconds") is None
    assert not [name for name, _ in samples(text) if name.startswith("sea_job")]


def test_passes_are_counted_by_how_they_ended() -> None:
    passes = PassMetrics()
    for outcome, seconds in (("done", 0.02), ("done", 2.0), ("failed", 0.2)):
        passes.ended(outcome, seconds)
    text = page(passes, [], 1.5, leads=True)
    assert of(text, "sea_operator_passes_total", outcome="done") == 2
    assert of(text, "sea_operator_passes_total", outcome="failed") == 1
    assert of(text, "sea_operator_passes_total", outcome="busy") == 0
    assert of(text, "sea_operator_pass_seconds_bucket", le="0.1") == 1
    assert of(text, "sea_operator_pass_lateness_seconds") == 1.5


def test_the_lateness_is_that_of_the_first_due_pass() -> None:
    now = 100.0
    queue: WorkQueue[Any] = WorkQueue(clock=lambda: now, random=lambda: 0.5)
    assert queue.lateness == 0
    queue.add("a")
    now = 103.0
    queue.add("b")
    assert queue.lateness == 3.0


def test_the_page_names_every_metric_and_no_other() -> None:
    passes = PassMetrics()
    passes.ended("done", 0.1)
    text = page(passes, [job("a", RUNNING)], 0.0, leads=True).decode()
    names = re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE)
    table = "".join(line for line in PAGE.read_text().splitlines() if line.startswith("| `"))
    documented = set(re.findall(r"`(sea_\w+)`", table))
    assert documented == {name for name in names if not name.endswith("_created")}
