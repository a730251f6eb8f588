"""Failure policy: (role, cause) -> action, with a windowed restart budget.

The job's own rules come first, then the operator's (`escalation.py`). An action on the trainer
starts a new attempt; other roles are restarted by the kubelet, and only a rule that asks for more
makes the operator act, by deleting the pods whose status shows the failure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sea_api.redaction import redacted_to
from sea_api.v1alpha1.policy import Action, Cause, FailurePolicy, FailureRule, RestartBudget, Role
from sea_operator.observed import Blocker, Observed
from sea_operator.pods import Pod
from sea_operator.policies import escalation
from sea_operator.policies.failures import DetectedFailure

INFRASTRUCTURE = frozenset({Cause.EVICTION, Cause.NODE_LOSS})

AGAIN = "An edit of the spec starts the job again; suspending or scaling it doesn't."

MAX_REMEMBERED = 1000
"""Bound of `status.restarts.recent`, and of a budget."""


@dataclass(frozen=True)
class Spent:
    """The window after one more restart."""

    recent: tuple[int, ...]
    exhausted: bool = False


def within(recent: Sequence[int], budget: RestartBudget, now: float) -> tuple[int, ...]:
    """Restarts that are still inside the window."""
    # `<`: a restart that is exactly a window old is free again.
    return tuple(time for time in recent if now - time < budget.window_seconds)


def spend(recent: Sequence[int], budget: RestartBudget, now: float) -> Spent:
    """Adds a restart, or reports that the budget is exhausted."""
    covered = within(recent, budget, now)
    # `>=` before adding: a budget of 3 allows three restarts, the fourth failure ends the job.
    if len(covered) >= budget.restarts:
        return Spent(covered, exhausted=True)
    return Spent((*covered, int(now)))


@dataclass(frozen=True)
class Verdict:
    """What follows from one failure."""

    failure: DetectedFailure
    delete: tuple[Pod, ...] = ()
    new_attempt: bool = False
    counted: bool = False
    recent: tuple[int, ...] = ()
    """The budget's window afterwards."""
    failed: Blocker | None = None

    @property
    def acts(self) -> bool:
        """True if the failure asks for an action."""
        return bool(self.delete) or self.new_attempt or self.failed is not None


def stalls(policy: FailurePolicy, failure: DetectedFailure) -> bool:
    """True if only an edit of the spec can help: a mistake of the user that no rule names."""
    return failure.cause is Cause.USER_ERROR and not any(
        rule.role is failure.role and rule.cause is Cause.USER_ERROR for rule in policy.rules
    )


def counts(rule: FailureRule, cause: Cause) -> bool:
    """Infrastructure causes don't count against the budget unless a rule names the cause."""
    return rule.counts and (cause not in INFRASTRUCTURE or rule.cause is cause)


def judge(
    observed: Observed, failure: DetectedFailure, recent: Sequence[int], now: float
) -> Verdict:
    """What to do about a failure."""
    spec = observed.job.spec
    assert spec is not None
    policy = spec.failure_policy
    if stalls(policy, failure):
        # The coordinator reports it as the job's problem; a restart would fail the same way.
        return Verdict(failure, new_attempt=failure.edited, recent=tuple(recent))
    rule = escalation.rule_for(policy, failure, observed.job.status.recent_failures)
    if rule.action is Action.FAIL_JOB:
        return Verdict(failure, recent=tuple(recent), failed=_forbidden(observed, failure))
    verdict = _act(observed, failure, rule.action, tuple(recent))
    # What the kubelet restarts by itself isn't counted: no action of ours follows from it.
    if not verdict.acts or not counts(rule, failure.cause):
        return verdict
    spent = spend(recent, policy.budget, now)
    if spent.exhausted:
        failed = _exhausted(observed, failure, policy)
        return Verdict(failure, recent=spent.recent, failed=failed)
    return Verdict(failure, verdict.delete, verdict.new_attempt, True, spent.recent)


def _act(
    observed: Observed, failure: DetectedFailure, action: Action, recent: tuple[int, ...]
) -> Verdict:
    """`Resize` restarts in place first: whether the trainer goes on smaller is decided once its
    pods have been missing for a while (`policies/elastic.py`)."""
    pods = observed.of_role(failure.role)
    delete: tuple[Pod, ...] = ()
    if action is Action.RESTART_POD:
        delete = tuple(pod for pod in pods if pod.name == failure.pod)
    elif action is Action.RESTART_ROLE:
        delete = pods
    return Verdict(failure, delete, failure.role is Role.TRAINER, recent=recent)


ADVICE = {
    Cause.PROCESS_EXIT: "Correct what it names; only if each exit was an accident, raise "
    "spec.failurePolicy.budget.restarts",
    Cause.USER_ERROR: "Correct what it names in the job",
    Cause.HANG: "Find what it waits for: the network between the pods, a node, the object store",
    Cause.OUT_OF_MEMORY: "Give the role more memory (template.limits), or make its work smaller: "
    "shorter contexts, another layout, more pods",
    Cause.EVICTION: "If evictions are usual here, raise spec.failurePolicy.budget.restarts or give "
    "the job a higher priority",
    Cause.NODE_LOSS: "If lost nodes are usual here, raise spec.failurePolicy.budget.restarts",
}
"""What helps after a failure of each cause: more restarts only where each was an accident."""


def _forbidden(observed: Observed, failure: DetectedFailure) -> Blocker:
    return Blocker(
        "FailurePolicy",
        f"spec.failurePolicy fails the job on {failure.cause} of {failure.role}. "
        f"{sentence(failure.message)}{log_of(observed, failure.pod)} {AGAIN}",
    )


def _exhausted(observed: Observed, failure: DetectedFailure, policy: FailurePolicy) -> Blocker:
    budget = policy.budget
    return Blocker(
        "RestartBudgetExhausted",
        f"More than {budget.restarts} restarts within {budget.window_seconds} s. The last: "
        f"{failure.cause} of {failure.pod}: {sentence(failure.message)}"
        f"{log_of(observed, failure.pod)} {ADVICE[failure.cause]}; an edit of the spec runs the "
        "job again from the last checkpoint, suspending or scaling it doesn't.",
    )


def log_of(observed: Observed, pod: str) -> str:
    """Where the last log of a pod that failed is kept, as a further sentence; empty if nowhere.

    The pod itself may be gone before the message is read.
    """
    place = observed.logs.get(pod)
    return f" The end of its log is kept ({place})." if place else ""


def sentence(text: str, most: int = 2000) -> str:
    """A message, cut to `most` characters, that ends like a sentence."""
    cut = redacted_to(text.strip(), most) or "No message was given."
    return cut if cut.endswith((".", "!", "?")) else f"{cut}."
