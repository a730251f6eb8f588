"""How far a job is: running, suspended, complete or failed, and which stage runs.

The stored status is final. A job that completed runs again only if stages were appended; one that
failed, only if its spec was edited after it failed, other than by suspending it or by scaling its
rollouts (`kubectl scale`, an autoscaler). The walk through the stages never goes back: a
stage that was left behind has its results in the object store, and a coordinator that lost its
ledger must not run it again.

The `Suspended` condition is the memory of a suspension: False (running), Unknown (draining, since
its transition time, or releasing, by its reason), True (released).
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.status import Condition, Status
from sea_api.wire.state import CoordinatorState, StagePhase
from sea_operator.observed import Blocker, Job
from sea_operator.plan import Lifecycle, Outcome, Suspension
from sea_operator.pods import Pod
from sea_operator.timestamps import unix_seconds

RELEASING = "Releasing"
"""Reason of `Suspended=Unknown` once nothing is waited for but the end of the pods."""
DRAIN_SECONDS = 180.0
UNKNOWN_DRAIN_SECONDS = 1800.0
"""On GPUs, before the first checkpoint shows how large one is."""
UPLOAD_BYTES_PER_SECOND = 200e6
"""Least upload rate of one trainer pod."""


def condition(status: Status, kind: str) -> Condition | None:
    """A condition by type."""
    return next((found for found in status.conditions if found.type == kind), None)


def outcome(job: Job) -> Outcome:
    """What the status said last, unless the spec has moved on since."""
    complete, failed = condition(job.status, "Complete"), condition(job.status, "Failed")
    if _is_true(failed) and not retries(job):
        return Outcome.FAILED
    if _is_true(complete) and not _has_more(job):
        return Outcome.COMPLETE
    return Outcome.RUNNING


def retries(job: Job) -> bool:
    """True if the job failed and its spec was edited since in a way that starts it again."""
    if job.spec is None or not _is_true(condition(job.status, "Failed")):
        return False
    return job.status.failed_spec not in (None, retry_digest(job.spec))


def retry_digest(spec: Spec) -> str:
    """Digest of all fields of a spec whose edit starts a failed job again."""
    # Without defaults: a field that a later release adds must not start old jobs again.
    fields = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    fields.pop("suspend", None)
    fields.get("rollout", {}).pop("replicas", None)
    policy = fields.pop("failurePolicy", {})
    policy.pop("ttlSecondsAfterFinished", None)
    if policy:
        fields["failurePolicy"] = policy
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def failed_spec(job: Job, lifecycle: Lifecycle) -> str | None:
    """`status.failedSpec`: from when the job failed until it starts again."""
    if lifecycle.outcome is not Outcome.FAILED or job.spec is None:
        return job.status.failed_spec if lifecycle.outcome is Outcome.FAILED else None
    return job.status.failed_spec or retry_digest(job.spec)


def why(job: Job) -> Blocker | None:
    """Reason of a job that failed."""
    failed = condition(job.status, "Failed")
    return Blocker(failed.reason, failed.message) if failed and _is_true(failed) else None


def _is_true(found: Condition | None) -> bool:
    return found is not None and found.status == "True"


def _has_more(job: Job) -> bool:
    # `status.stage` is the last stage of a complete job; stages keep their place (KEPT_STAGES).
    return job.spec is not None and job.status.stage != job.spec.stages[-1].name


@dataclass(frozen=True)
class Walk:
    """Position in `spec.stages`."""

    index: int
    """Stage that runs now; the last one when all are done."""
    complete: bool = False


def walk(spec: Spec, status: Status, state: CoordinatorState | None) -> Walk:
    """The stage after all that the coordinator calls Complete or the status left behind."""
    done = _finished(state) | _last_of_complete(status)
    # From the stored stage on: a coordinator with an empty ledger reports none as complete.
    reached = position(spec, status.stage) or 0
    for index in range(reached, len(spec.stages)):
        if spec.stages[index].name not in done:
            return Walk(index)
    return Walk(len(spec.stages) - 1, complete=True)


def position(spec: Spec, stage: str | None) -> int | None:
    """Index of a stage by name, None if the spec has none of this name."""
    names = [stage.name for stage in spec.stages]
    return names.index(stage) if stage in names else None


def _finished(state: CoordinatorState | None) -> frozenset[str]:
    stages = state.stages if state else []
    return frozenset(stage.name for stage in stages if stage.phase is StagePhase.COMPLETE)


def _last_of_complete(status: Status) -> frozenset[str]:
    """The stage of a job that was complete before stages were appended to it."""
    complete = condition(status, "Complete")
    is_complete = complete is not None and complete.status == "True"
    return frozenset({status.stage}) if is_complete and status.stage else frozenset()


def suspension(
    *,
    wanted: bool,
    status: Status,
    state: CoordinatorState | None,
    coordinator_replicas: int | None,
    pods: Sequence[Pod],
    now: float,
    timeout: float,
) -> Suspension:
    """The phase of a suspension.

    Draining ends when the coordinator reports `drained`, after `timeout` seconds, or immediately
    if no pod ever ran. A coordinator that is scaled down can report nothing: the drain is over.
    """
    if not wanted:
        return Suspension.NONE
    stored = _memory(status)
    # `Released` stays: pods that were released have nothing to drain.
    if stored == "True":
        return Suspension.RELEASED
    after = Suspension.RELEASING if pods else Suspension.RELEASED
    # A kill after the scale-down and before the status write leaves "Unknown" and no coordinator,
    # which could never report `drained`.
    nothing_to_save = not coordinator_replicas or status.stage is None
    # Pods that wait for a node, an image or an init container have nothing to save either.
    if nothing_to_save or not any(pod.began for pod in pods) or _releases(status):
        return after
    if stored == "Unknown":
        drained = state is not None and state.drained
        # A coordinator that can't be reached must not keep the pods forever.
        overdue = now - _since(status) >= timeout
        return after if drained or overdue else Suspension.DRAINING
    return Suspension.DRAINING


def drain_seconds(spec: Spec, status: Status) -> float:
    """How long the last checkpoint may take: as the job says, else by what it has to store."""
    if spec.checkpoint.drain_seconds is not None:
        return float(spec.checkpoint.drain_seconds)
    if status.checkpoint is None:
        return UNKNOWN_DRAIN_SECONDS if spec.trainer.gpus_per_pod else DRAIN_SECONDS
    return DRAIN_SECONDS + status.checkpoint.bytes / spec.trainer.replicas / UPLOAD_BYTES_PER_SECOND


def resumes(wanted: bool, status: Status) -> bool:
    """Whether pods that were released come back: the trainer then begins a new attempt.

    A job that was created suspended has had none: its first attempt is still to begin.
    """
    if wanted or status.start_time is None:
        return False
    return _memory(status) == "True" or _releases(status)


def _memory(status: Status) -> str:
    found = condition(status, "Suspended")
    return found.status if found else "False"


def _releases(status: Status) -> bool:
    found = condition(status, "Suspended")
    return found is not None and (found.status, found.reason) == ("Unknown", RELEASING)


def _since(status: Status) -> float:
    found = condition(status, "Suspended")
    assert found is not None
    return unix_seconds(found.last_transition_time)


def remembered(status: Status) -> Suspension:
    """The phase that the status reported last, for a pass that changes nothing."""
    if _releases(status):
        return Suspension.RELEASING
    kept = {"True": Suspension.RELEASED, "Unknown": Suspension.DRAINING}
    return kept.get(_memory(status), Suspension.NONE)
