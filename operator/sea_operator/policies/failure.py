"""From a failure to what is done about it: (role, cause) -> action, with a budget.

The job's own rules come first, then the operator's table. An action on the trainer starts a new
attempt; other roles are restarted by the kubelet, and only a rule that asks for more makes the
operator act, by deleting the pods that remember the failure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sea_api.v1alpha1.policy import Action, Cause, FailurePolicy, FailureRule, Role
from sea_operator.observed import Observed, Pod
from sea_operator.plan import Halt
from sea_operator.policies.budget import spend
from sea_operator.policies.evidence import Evidence

INFRASTRUCTURE = frozenset({Cause.EVICTION, Cause.NODE_LOSS})

TABLE = tuple(
    FailureRule(role=role, cause=Cause.ANY, action=Action.RESTART_PROCESS, counts=counts)
    for role, counts in {
        Role.TRAINER: True,
        Role.ROLLOUT: False,
        Role.USER: False,
        Role.COORDINATOR: False,
    }.items()
)


@dataclass(frozen=True)
class Verdict:
    """What follows from one failure."""

    evidence: Evidence
    delete: tuple[Pod, ...] = ()
    new_attempt: bool = False
    counted: bool = False
    recent: tuple[int, ...] = ()
    """The budget's window afterwards."""
    failed: Halt | None = None

    @property
    def acts(self) -> bool:
        """Whether anything is to be done at all."""
        return bool(self.delete) or self.new_attempt or self.failed is not None


def rule_for(policy: FailurePolicy, role: Role, cause: Cause) -> FailureRule:
    """The first rule that matches, the job's before the operator's."""
    return next(
        rule
        for rule in (*policy.rules, *TABLE)
        if rule.role is role and rule.cause in (cause, Cause.ANY)
    )


def stalls(policy: FailurePolicy, evidence: Evidence) -> bool:
    """True if only an edit of the spec can help: a mistake of the user that no rule names."""
    return evidence.cause is Cause.USER_ERROR and not any(
        rule.role is evidence.role and rule.cause is Cause.USER_ERROR for rule in policy.rules
    )


def counts(rule: FailureRule, cause: Cause) -> bool:
    """Nobody pays for the infrastructure unless a rule names the cause itself."""
    return rule.counts and (cause not in INFRASTRUCTURE or rule.cause is cause)


def judge(observed: Observed, evidence: Evidence, recent: Sequence[int], now: float) -> Verdict:
    """What to do about a failure."""
    spec = observed.job.spec
    assert spec is not None
    policy = spec.failure_policy
    if stalls(policy, evidence):
        # The coordinator reports it as the job's problem; a restart would fail the same way.
        return Verdict(evidence, new_attempt=evidence.edited, recent=tuple(recent))
    rule = rule_for(policy, evidence.role, evidence.cause)
    if rule.action is Action.FAIL_JOB:
        return Verdict(evidence, recent=tuple(recent), failed=_forbidden(evidence))
    verdict = _act(observed, evidence, rule.action, tuple(recent))
    if not verdict.acts or not counts(rule, evidence.cause):
        return verdict
    spent = spend(recent, policy.budget, now)
    if spent.exhausted:
        failed = _exhausted(observed, evidence, policy)
        return Verdict(evidence, recent=spent.recent, failed=failed)
    return Verdict(evidence, verdict.delete, verdict.new_attempt, True, spent.recent)


def _act(
    observed: Observed, evidence: Evidence, action: Action, recent: tuple[int, ...]
) -> Verdict:
    """Resize is in the API before it's in the operator: until then the process restarts."""
    pods = observed.of_role(evidence.role)
    delete: tuple[Pod, ...] = ()
    if action is Action.RESTART_POD:
        delete = tuple(pod for pod in pods if pod.name == evidence.pod)
    elif action is Action.RESTART_ROLE:
        delete = pods
    return Verdict(evidence, delete, evidence.role is Role.TRAINER, recent=recent)


def _forbidden(evidence: Evidence) -> Halt:
    return Halt(
        "FailurePolicy",
        f"spec.failurePolicy fails the job on {evidence.cause} of {evidence.role}. "
        f"{sentence(evidence.message)} Edit the spec to run again.",
    )


def _exhausted(observed: Observed, evidence: Evidence, policy: FailurePolicy) -> Halt:
    budget, job = policy.budget, observed.job
    return Halt(
        "RestartBudgetExhausted",
        f"More than {budget.restarts} restarts within {budget.window_seconds} s. The last: "
        f"{evidence.cause} of {evidence.pod}: {sentence(evidence.message)} See `kubectl logs "
        f"-n {job.namespace} {evidence.pod} --previous`; then edit the job, for example raise "
        "spec.failurePolicy.budget.restarts, to run again from the last checkpoint.",
    )


def sentence(text: str, most: int = 2000) -> str:
    """A message cut to a bearable length that ends like a sentence."""
    cut = text.strip()[:most] or "No message was given."
    return cut if cut.endswith((".", "!", "?")) else f"{cut}."
