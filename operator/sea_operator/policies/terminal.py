"""Whether a job is over, judged by its own status: what was reported stays so.

A job that completed runs again only if stages were appended; one that failed, only if its spec
was edited after it failed.
"""

from sea_api.v1alpha1.status import Condition, Status
from sea_operator.observed import Job
from sea_operator.plan import Halt, Outcome


def condition(status: Status, kind: str) -> Condition | None:
    """A condition by type."""
    return next((found for found in status.conditions if found.type == kind), None)


def outcome(job: Job) -> Outcome:
    """What the status said last, unless the spec has moved on since."""
    complete, failed = condition(job.status, "Complete"), condition(job.status, "Failed")
    if _is_true(failed) and failed and failed.observed_generation == job.generation:
        return Outcome.FAILED
    if _is_true(complete) and not _has_more(job):
        return Outcome.COMPLETE
    return Outcome.RUNNING


def retries(job: Job) -> bool:
    """Whether the job failed before and was edited since, so that it begins afresh."""
    failed = condition(job.status, "Failed")
    return bool(_is_true(failed) and failed and failed.observed_generation != job.generation)


def why(job: Job) -> Halt | None:
    """Reason of a job that failed."""
    failed = condition(job.status, "Failed")
    return Halt(failed.reason, failed.message) if failed and _is_true(failed) else None


def _is_true(found: Condition | None) -> bool:
    return found is not None and found.status == "True"


def _has_more(job: Job) -> bool:
    return job.spec is not None and job.status.stage != job.spec.stages[-1].name
