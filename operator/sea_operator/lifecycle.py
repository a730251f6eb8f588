"""Where a job is in its lifecycle: failure, stage and suspension policies combined. Pure."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

from sea_api.contract import role_name
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.policy import Role
from sea_api.v1alpha1.status import Failure, PodFailure, Restarts, RollbackRequest
from sea_api.wire.state import Severity
from sea_operator import sizing
from sea_operator.elasticity import GROWING
from sea_operator.observed import Blocker, Observed
from sea_operator.plan import Lifecycle, Outcome, Suspension
from sea_operator.pods import Pod
from sea_operator.policies import (
    elastic,
    escalation,
    failures,
    phase,
    refused_pods,
    rollback,
    secret_rotation,
    waiting_pods,
)
from sea_operator.policies.failure_policy import Verdict, judge, sentence, within
from sea_operator.policies.phase import remembered, resumes, suspension, walk
from sea_operator.policies.role_sizes import resized
from sea_operator.settings import Images, Intervals
from sea_operator.timestamps import stamp


@dataclass(frozen=True)
class Context:
    """What a decision needs in addition to the observation."""

    now: float
    """Unix seconds."""
    fresh_token: str
    """Random text for a job that has no token yet."""
    images: Images = field(default_factory=Images)
    intervals: Intervals = field(default_factory=Intervals)


def held(observed: Observed, blocker: Blocker) -> Lifecycle:
    """The lifecycle of a blocked job: nothing about its children changes."""
    status = observed.job.status
    spec = observed.job.spec
    # An edit that starts a failed job again waits for the blocker's end, and must not be forgotten.
    outcome = Outcome.FAILED if phase.retries(observed.job) else phase.outcome(observed.job)
    return Lifecycle(
        blocker=blocker,
        outcome=outcome,
        failed=phase.why(observed.job),
        suspension=remembered(status),
        stage_index=walk(spec, status, observed.state).index if spec and status.stage else None,
        attempt=known_attempt(observed),
        fenced=tuple(status.fenced or ()),
        restarts=status.restarts or Restarts(),
        last_failure=status.last_failure,
        recent_failures=tuple(status.recent_failures),
        rollback=status.rollback,
        elastic=elastic.remembered(observed),
    )


def known_attempt(observed: Observed) -> int:
    """Number of the attempt that runs."""
    # The larger of both: an attempt number never goes back, whichever of status and
    # ledger was lost or restored.
    stored = observed.job.status.trainer_attempt or 1
    return max(1, stored, observed.state.attempt if observed.state else 0)


def verdict_of(observed: Observed, spec: Spec, now: float) -> Verdict | None:
    """The first failure that asks for an action, the trainer's before all others."""
    if spec.suspend or phase.outcome(observed.job) is not Outcome.RUNNING:
        return None
    restarts = observed.job.status.restarts or Restarts()
    recent = within(restarts.recent, spec.failure_policy.budget, now)
    # An edit after a failure starts with a full budget.
    recent = () if phase.retries(observed.job) else recent
    trainer = failures.of_trainer(observed, known_attempt(observed), _replaced(observed, spec))
    seen = ([trainer] if trainer else []) + list(failures.of_others(observed, now))
    verdicts = (judge(observed, failure, recent, now) for failure in seen)
    return next((verdict for verdict in verdicts if verdict.acts), None)


def _replaced(observed: Observed, spec: Spec) -> frozenset[str]:
    """Trainer pods that the operator replaced for the failure before this one."""
    failure = observed.state.trainer_failure if observed.state else None
    if failure is None:
        return frozenset()
    names = [pod.name for pod in observed.of_role(Role.TRAINER)]
    before = observed.job.status.recent_failures
    return escalation.replaced(spec.failure_policy, before, names, failure.time)


def lifecycle_of(
    observed: Observed, spec: Spec, verdict: Verdict | None, context: Context
) -> Lifecycle:
    steps = walk(spec, observed.job.status, observed.state)
    outcome = _outcome(observed, verdict, complete=steps.complete)
    suspended = _suspended(observed, spec, outcome, context.now)
    lost = failures.lost_pods(observed, context.now, context.intervals.dead_node_grace)
    fenced = failures.to_fence(observed, lost)
    # As stored, not as decided now: pods that go before the status is written take their report.
    over = phase.outcome(observed.job) is not Outcome.RUNNING
    sizes = functools.partial(
        sizing.size,
        observed,
        spec,
        steps.index,
        context.now,
        over=over,
        suspension=suspended,
        attempt_over=_made_room(observed) or (verdict is not None and verdict.new_attempt),
    )
    runs, sized = not over and suspended is Suspension.NONE, sizes()
    another_size = runs and _is_another_size(observed, sized)
    attempt = _attempt(observed, spec, verdict, fenced, another_size=another_size)
    begun = _begun(observed, spec, attempt, runs=runs, ends=outcome is not Outcome.RUNNING)
    if begun.attempt > known_attempt(observed) and _grows(sized):
        # It has the size that the one before would have ended for, and never ends for it itself.
        sized = sizes(attempt_begins=True)
    blocker, warning = _problems(observed, spec, sized)
    return Lifecycle(
        blocker=blocker,
        warning=warning,
        outcome=outcome,
        failed=_why_failed(observed, verdict),
        suspension=suspended,
        stage_index=steps.index,
        attempt=begun.attempt,
        fenced=fenced,
        restarts=_restarts(observed, verdict),
        last_failure=_last_failure(observed, verdict),
        recent_failures=(recent := _recent_failures(observed, verdict, context.now)),
        replicas=sized.sets,
        working=sized.working,
        elastic=sized.elastic,
        keeps_layout=sized.keeps_layout,
        checking=sized.checking,
        secrets=begun.secrets,
        renewed=begun.renewed,
        rollback=begun.rollback,
        note=_together(*begun.notes, sized.elastic.note, escalation.note(recent)),
    )


@dataclass(frozen=True)
class _Begun:
    """The attempt of this pass, and what happens with one that begins."""

    attempt: int
    secrets: Mapping[Role, str]
    """Digests of the Secrets that each role's pods are started with."""
    renewed: tuple[Pod, ...]
    """Pods that take the new values of their Secrets now."""
    rollback: RollbackRequest | None
    """The checkpoint that is gone back to."""
    notes: tuple[str | None, ...]
    """What a person should know of both."""


def _begun(observed: Observed, spec: Spec, attempt: int, *, runs: bool, ends: bool) -> _Begun:
    """Secrets are renewed, and checkpoints gone back to, with an attempt that begins for another
    reason, or with one of their own.

    Args:
        attempt: as all other reasons have it.
        runs: the job isn't over or suspended.
        ends: it is over, or this pass finds that it is.
    """
    known = known_attempt(observed)
    secrets = secret_rotation.digests(observed, spec)
    renews = runs and not ends
    renewed, note = _renewal(observed, spec, secrets, restarts=attempt > known, runs=renews)
    if any(pod.role is Role.TRAINER for pod in renewed):
        # A trainer whose failure stalls the job would otherwise wait for an edit.
        attempt = max(attempt, known + 1)
    # With whatever else begins an attempt, or by itself.
    following = max(attempt, known + 1) if runs else None
    asked = rollback.request(observed, spec, following, begins=attempt > known)
    if following is not None and rollback.begins(observed, asked):
        attempt = following
    return _Begun(attempt, secrets, renewed, asked, (note, rollback.note(asked)))


def _suspended(observed: Observed, spec: Spec, outcome: Outcome, now: float) -> Suspension:
    job = observed.job
    return suspension(
        wanted=spec.suspend and outcome is Outcome.RUNNING,
        status=job.status,
        state=observed.state,
        coordinator_replicas=observed.replicas(role_name(job.name, Role.COORDINATOR)),
        pods=observed.pods,
        now=now,
        timeout=phase.drain_seconds(spec, job.status),
    )


def _renewal(
    observed: Observed, spec: Spec, secrets: Mapping[Role, str], *, restarts: bool, runs: bool
) -> tuple[tuple[Pod, ...], str | None]:
    """Pods that take the new values of their Secrets now, and what to say of those that wait."""
    if not runs:
        return (), None
    outdated = secret_rotation.outdated(observed, secrets)
    renewed = secret_rotation.due(observed, outdated, restarts=restarts)
    waiting = tuple(pod for pod in outdated if pod not in renewed)
    return renewed, secret_rotation.note(observed, spec, waiting)


def _outcome(observed: Observed, verdict: Verdict | None, *, complete: bool) -> Outcome:
    stored = phase.outcome(observed.job)
    # Final: a verdict or a completion seen afterwards doesn't change it.
    if stored is not Outcome.RUNNING:
        return stored
    if verdict is not None and verdict.failed is not None:
        return Outcome.FAILED
    return Outcome.COMPLETE if complete else Outcome.RUNNING


def _why_failed(observed: Observed, verdict: Verdict | None) -> Blocker | None:
    if phase.outcome(observed.job) is Outcome.FAILED:
        return phase.why(observed.job)
    return verdict.failed if verdict else None


def _problems(
    observed: Observed, spec: Spec, sized: sizing.Sizing
) -> tuple[Blocker | None, Blocker | None]:
    """What stalls the job, the coordinator's problem first, and what it goes on trying."""
    said = observed.state.problem if observed.state else None
    tried = said is not None and said.severity is Severity.WARNING
    problem = Blocker(said.reason, said.message, tried) if said else None
    blocker = (
        (None if tried else problem)
        or sized.no_nodes
        or refused_pods.blocker(observed, spec)
        or waiting_pods.never_ready(observed)
    )
    return blocker, problem if tried else None


def _attempt(
    observed: Observed,
    spec: Spec,
    verdict: Verdict | None,
    fenced: tuple[str, ...],
    *,
    another_size: bool,
) -> int:
    """The attempt number: one higher if the trainer must restart, for however many reasons.

    A fenced pod may still exist in later passes (a finalizer holds it, or its deletion fails), so
    only pods that aren't in `status.fenced` yet count as a reason.
    """
    status = observed.job.status
    restart = (
        (verdict is not None and verdict.new_attempt)
        or resumes(spec.suspend, status)
        or phase.retries(observed.job)
        or not set(fenced) <= set(status.fenced or ())
        or another_size
        or _made_room(observed)
    )
    return known_attempt(observed) + (1 if restart else 0)


def _made_room(observed: Observed) -> bool:
    """Whether the running attempt has ended with its checkpoint for another size."""
    state = observed.state
    return state is not None and state.resized_attempt == known_attempt(observed)


def _is_another_size(observed: Observed, sized: sizing.Sizing) -> bool:
    """Of a job that runs: a new size during a drain would end the attempt whose checkpoint the
    drain waits for."""
    return resized(observed.job.status, sized.working) or _stays(observed, sized)


def _grows(sized: sizing.Sizing) -> bool:
    trainer = sized.elastic.roles.get(Role.TRAINER)
    return trainer is not None and trainer.state == GROWING


def _stays(observed: Observed, sized: sizing.Sizing) -> bool:
    """Whether an edit takes back that the trainer grows, whose processes may have ended for it."""
    last, now = observed.job.status.elastic, sized.elastic.roles.get(Role.TRAINER)
    grew = last is not None and last.trainer is not None and last.trainer.state == GROWING
    return grew and (now is None or now.state != GROWING)


def _restarts(observed: Observed, verdict: Verdict | None) -> Restarts:
    before = observed.job.status.restarts or Restarts()
    if phase.retries(observed.job):
        # The totals stay; only the window is forgotten.
        before = Restarts(counted=before.counted, uncounted=before.uncounted)
    if verdict is None or verdict.failed is not None:
        return before
    return Restarts(
        counted=before.counted + int(verdict.counted),
        uncounted=before.uncounted + int(not verdict.counted),
        recent=list(verdict.recent),
    )


def _recent_failures(
    observed: Observed, verdict: Verdict | None, now: float
) -> tuple[PodFailure, ...]:
    before = observed.job.status.recent_failures
    # Only what is acted on: each pass until the next attempt begins sees the same failure.
    if verdict is None or not verdict.new_attempt or verdict.failure.role is not Role.TRAINER:
        return tuple(escalation.recent(before, now))
    node = next((pod.node for pod in observed.pods if pod.name == verdict.failure.pod), None)
    return tuple(escalation.remembered(before, verdict.failure, node, now))


def _together(*notes: str | None) -> str | None:
    return " ".join(text for text in notes if text) or None


def _last_failure(observed: Observed, verdict: Verdict | None) -> Failure | None:
    if verdict is None:
        return observed.job.status.last_failure
    seen = verdict.failure
    return Failure(
        role=seen.role.value,
        cause=seen.cause.value,
        message=sentence(seen.message),
        pod=seen.pod,
        log=observed.logs.get(seen.pod),
        time=stamp(seen.time),
    )
