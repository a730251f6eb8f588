"""Where a job is in its lifecycle: failure, stage and suspension policies combined. Pure."""

import functools
from dataclasses import dataclass, field, replace

from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.policy import Role
from sea_api.v1alpha1.status import Failure, PodFailure, Restarts
from sea_api.wire.state import Severity
from sea_operator import sizing
from sea_operator.attempts import (
    attempt_of,
    begin,
    grows,
    is_another_size,
    known_attempt,
    made_room,
)
from sea_operator.observed import Blocker, Observed
from sea_operator.plan import Lifecycle, Outcome, Suspension
from sea_operator.policies import (
    elastic,
    escalation,
    failures,
    phase,
    refused_patches,
    refused_pods,
    waiting_pods,
)
from sea_operator.policies.failure_policy import Verdict, judge, sentence, within
from sea_operator.policies.phase import remembered, suspension, walk
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


def verdict_of(
    observed: Observed, spec: Spec, now: float, frozen: frozenset[Role] = frozenset()
) -> Verdict | None:
    """The first failure that asks for an action, the trainer's before all others.

    Args:
        frozen: roles whose pods can't be replaced now.
    """
    if spec.suspend or phase.outcome(observed.job) is not Outcome.RUNNING:
        return None
    restarts = observed.job.status.restarts or Restarts()
    recent = within(restarts.recent, spec.failure_policy.budget, now)
    # An edit after a failure starts with a full budget.
    recent = () if phase.retries(observed.job) else recent
    trainer = failures.of_trainer(observed, known_attempt(observed), _replaced(observed, spec))
    seen = ([trainer] if trainer else []) + list(failures.of_others(observed, now))
    verdicts = (_possible(judge(observed, failure, recent, now), frozen) for failure in seen)
    return next((verdict for verdict in verdicts if verdict is not None and verdict.acts), None)


def _possible(verdict: Verdict, frozen: frozenset[Role]) -> Verdict | None:
    """What of a verdict can be done while no pod of these roles can be replaced."""
    if not verdict.delete or verdict.failure.role not in frozen:
        return verdict
    # A trainer's attempt begins in the pods that it has. Of other roles nothing is left to do: the
    # failure stays visible, and would count in each pass.
    return replace(verdict, delete=()) if verdict.new_attempt else None


def _replaced(observed: Observed, spec: Spec) -> frozenset[str]:
    """Trainer pods that the operator replaced for the failure before this one."""
    failure = observed.state.trainer_failure if observed.state else None
    if failure is None:
        return frozenset()
    names = [pod.name for pod in observed.of_role(Role.TRAINER)]
    before = observed.job.status.recent_failures
    return escalation.replaced(spec.failure_policy, before, names, failure.time)


def lifecycle_of(
    observed: Observed,
    spec: Spec,
    verdict: Verdict | None,
    context: Context,
    frozen: frozenset[Role] = frozenset(),
) -> Lifecycle:
    """The lifecycle of a job that isn't held; `frozen`: see `Lifecycle.frozen`."""
    steps = walk(spec, observed.job.status, observed.state)
    outcome = _outcome(observed, verdict, complete=steps.complete)
    suspended = _suspended(observed, spec, outcome, context.now)
    lost = failures.lost_pods(observed, context.now, context.intervals.dead_node_grace)
    fenced = failures.to_fence(observed, lost)
    ended = made_room(observed) or (verdict is not None and verdict.new_attempt)
    # As stored, not as decided now: pods that go before the status is written take their report.
    was_over = phase.outcome(observed.job) is not Outcome.RUNNING
    situation = sizing.Situation(was_over, suspended, ended, frozen)
    sizes = functools.partial(sizing.size, observed, spec, steps.index, context.now, situation)
    runs, sized = situation.starts, sizes()
    another_size = runs and is_another_size(observed, sized)
    attempt = attempt_of(observed, spec, verdict, fenced, another_size=another_size)
    over = outcome is not Outcome.RUNNING
    begun = begin(observed, spec, attempt, runs=runs, ends=over, frozen=frozen)
    if begun.attempt > known_attempt(observed) and grows(sized):
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
        frozen=frozen,
        inherited=refused_patches.inherited(observed, spec, context.images),
        secrets=begun.secrets,
        renewed=begun.renewed,
        rollback=begun.rollback,
        note=_together(*begun.notes, sized.elastic.note, escalation.note(recent)),
    )


def _suspended(observed: Observed, spec: Spec, outcome: Outcome, now: float) -> Suspension:
    job = observed.job
    return suspension(
        wanted=spec.suspend and outcome is Outcome.RUNNING,
        status=job.status,
        state=observed.state,
        coordinator_replicas=observed.replicas(Role.COORDINATOR),
        pods=observed.pods,
        now=now,
        timeout=phase.drain_seconds(spec, job.status),
    )


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
