"""Operator and pods around one coordinator, at work until a test has seen enough."""

from collections.abc import Iterator
from contextlib import contextmanager

from sea_api.v1alpha1.job import Spec
from sea_testing.coordinator.engines import UserPod, Worker
from sea_testing.coordinator.job import Job
from sea_testing.coordinator.operator import Operator
from sea_testing.coordinator.pod import Pod, Supervisor
from sea_testing.coordinator.trainer import Trainer


@contextmanager
def crew(job: Job, spec: Spec, *pods: Pod) -> Iterator[Operator]:
    """Runs operator and pods; fails when one of them does."""
    operator = Operator(job, spec, pods)
    threads: list[Operator | Pod] = [operator, *pods]
    for thread in threads:
        thread.start()
    try:
        yield operator
    finally:
        for thread in threads:
            thread.ended.set()
        for thread in threads:
            thread.join(30)
    errors = [thread.error for thread in threads if thread.error is not None]
    assert not errors, errors
    assert b"Traceback" not in job.log.read_bytes(), job.log.read_text()


def everybody(job: Job) -> tuple[Trainer, Supervisor, Worker, Worker, UserPod]:
    return (
        Trainer(job),
        Supervisor(job, "job-trainer-1"),
        Worker(job, "job-rollout-0", 1),
        Worker(job, "job-rollout-1", 2),
        UserPod(job, "job-user-0", "user"),
    )
