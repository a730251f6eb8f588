"""The six conditions, as kstatus reads them, and notices.

`Ready` is True if the job is as its spec asks: running with all pods, complete, or suspended.
`Stalled` is True only if a user must act. `Reconciling` is True while the operator works toward the
spec. `Suspended`, `Complete` and `Failed` report the lifecycle; `policies/phase.py` explains
`Suspended=Unknown`. The notices `SpecWarning`, `UpdateWaiting`, `FieldsIgnored` and
`OperatorConflict` are there only while they are true, `Planned` once the coordinator has planned
the job's memory; nothing depends on them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sea_api.redaction import redacted_to
from sea_api.v1alpha1.status import Condition
from sea_api.wire.state import Fit, PlanVerdict
from sea_operator.observed import Blocker
from sea_operator.plan import Lifecycle, Outcome, Suspension
from sea_operator.timestamps import not_after, stamp

MAX_SENTENCES = 3
"""Problems that one message holds."""
MAX_NAMED_PODS = 3
"""Pods that a message names for one reason."""
MAX_REASONS = 8
"""Reasons of pods that a message gives."""
MAX_NAMED_FIELDS = 10
"""Fields that a message names."""
MAX_MESSAGE = 4096
"""Bound of a message in the CRD."""
ROUTINE = frozenset(
    {"Draining", "Releasing", "PodsNotReady", "CoordinatorBehind", "CheckingInputs"}
)
"""Reasons of a job that is on its way and meets no problem: no Event reports them."""


@dataclass(frozen=True)
class Situation:
    """What the conditions are computed from."""

    lifecycle: Lifecycle
    pods: Mapping[str, tuple[int, int]]
    """Ready and desired pods by role."""
    pending: str | None = None
    """What else isn't done yet: the coordinator doesn't answer, or has an old spec."""
    failed: tuple[Blocker, ...] = ()
    """Reads and writes that failed."""
    waiting: Mapping[str, str] = field(default_factory=dict)
    """Why a pod can't run, or a set has too few, by its name."""
    update_waits: str | None = ""
    """`Plan.update_waits`."""
    ignored: tuple[str, ...] = ()
    """Fields of the stored job that this operator doesn't know."""
    spec_warning: Blocker | None = None
    """What the spec says without effect, or probably doesn't mean."""
    conflict: str | None = None
    """What to say of another operator that works on the job too."""
    plan: PlanVerdict | None = None
    """Verdict of the coordinator's plan."""
    plan_unknown: bool = False
    """The coordinator didn't answer."""

    @property
    def blocker(self) -> Blocker | None:
        """What a user must change."""
        lifecycle = self.lifecycle
        found = [one for one in (lifecycle.failed, *self.failed, lifecycle.blocker) if one]
        return together([one for one in found if not one.transient])

    @property
    def warning(self) -> Blocker | None:
        """What is tried again by itself."""
        lifecycle = self.lifecycle
        found = [one for one in (lifecycle.warning, lifecycle.blocker, *self.failed) if one]
        return together([one for one in found if one.transient])


def together(found: Sequence[Blocker]) -> Blocker | None:
    """All in one: the reason of the first, and the sentences of the first few."""
    if not found:
        return None
    sentences = list(dict.fromkeys(one.message for one in found))
    more = len(sentences) - MAX_SENTENCES
    tail = [f"And {more} more."] if more > 0 else []
    return replace(found[0], message=" ".join([*sentences[:MAX_SENTENCES], *tail]))


Judgement = tuple[str, str, str]
"""Status, reason, message."""


def conditions(
    situation: Situation, before: list[Condition], generation: int, now: float
) -> list[Condition]:
    """All, in a fixed order; the transition time moves only when the status does.

    `now`: unix seconds.
    """
    judged = {
        "Ready": _noted(_ready(situation), situation.lifecycle),
        "Reconciling": _reconciling(situation),
        "Stalled": _stalled(situation),
        "Suspended": _suspended(situation.lifecycle),
        "Complete": _complete(situation.lifecycle),
        "Failed": _failed(situation.lifecycle),
        **_notices(situation),
    }
    old = {condition.type: condition for condition in before}
    found = [
        _condition(kind, judgement, old.get(kind), generation, now)
        for kind, judgement in judged.items()
    ]
    # A pass that didn't look at the children knows nothing new about updates.
    if situation.update_waits is None and "UpdateWaiting" in old:
        found.append(old["UpdateWaiting"])
    if situation.plan_unknown and "Planned" in old:
        found.append(old["Planned"])
    return found


def state_of(found: Sequence[Condition]) -> str:
    """The one line of `kubectl get` that says what a job does; from its conditions alone."""
    by_type = {condition.type: condition for condition in found}

    def holds(kind: str) -> bool:
        return kind in by_type and by_type[kind].status == "True"

    # The outcome first: a job that failed is stalled as well. A suspended job that something
    # blocks isn't `Ready`, and what blocks it is what a person must know.
    if final := next((kind for kind in ("Complete", "Failed") if holds(kind)), None):
        return final
    ready = by_type["Ready"]
    if holds("Stalled"):
        return f"Stalled: {ready.reason}"
    if holds("Ready"):
        return "Suspended" if holds("Suspended") else "Running"
    return f"Waiting: {ready.reason}"


def _condition(
    kind: str, judgement: Judgement, old: Condition | None, generation: int, now: float
) -> Condition:
    status, reason, message = judgement
    # `policies/phase.py` measures a drain's time-out from here: a new reason must not reset it.
    since = not_after(old.last_transition_time, now) if old and old.status == status else stamp(now)
    # The API server refuses the whole status for one message that is too long.
    said = redacted_to(message, MAX_MESSAGE)
    if old and (
        (old.status, old.reason, old.message, old.last_transition_time, old.observed_generation)
        == (status, reason, said, since, generation)
    ):
        return old  # most passes change none, and a new one would be validated
    return Condition(
        type=kind,
        status=status,
        reason=reason,
        message=said,
        last_transition_time=since,
        observed_generation=generation,
    )


def _notices(situation: Situation) -> dict[str, Judgement]:
    """What a person should know although nothing has to be done."""
    warning = situation.spec_warning
    # `UpdateWaiting` last, where `conditions` puts one that it keeps.
    found = {
        "FieldsIgnored": _fields_ignored(situation.ignored),
        "SpecWarning": ("True", warning.reason, warning.message) if warning else ("", "", ""),
        "OperatorConflict": _operator_conflict(situation.conflict),
        "Planned": _planned(situation.plan),
        "UpdateWaiting": _update_waiting(situation.update_waits),
    }
    return {kind: judgement for kind, judgement in found.items() if judgement[2]}


def _operator_conflict(message: str | None) -> Judgement:
    return "True", "OperatorConflict", message or ""


def _planned(plan: PlanVerdict | None) -> Judgement:
    """False only for a job that can't fit, which `Stalled` reports too."""
    if plan is None:
        return "", "", ""
    status = "False" if plan.fit is Fit.DOES_NOT_FIT else "True"
    return status, plan.fit.value, plan.message


def _update_waiting(message: str | None) -> Judgement:
    return "True", "UpdateWaiting", message or ""


def _fields_ignored(fields: tuple[str, ...]) -> Judgement:
    named = ", ".join(fields[:MAX_NAMED_FIELDS])
    more = len(fields) - MAX_NAMED_FIELDS
    message = (
        f"This release of the operator doesn't know {named}{f' and {more} more' * (more > 0)}, "
        "which another release wrote, and goes on without them; upgrade the operator to use them."
    )
    return "True", "FieldsIgnored", message if fields else ""


def _noted(judgement: Judgement, lifecycle: Lifecycle) -> Judgement:
    status, reason, message = judgement
    return status, reason, f"{message} {lifecycle.note}" if lifecycle.note else message


def _ready(situation: Situation) -> Judgement:
    lifecycle = situation.lifecycle
    if lifecycle.outcome is Outcome.COMPLETE:
        return "True", "Completed", "All stages are complete."
    # Before `Suspended`: a suspended job whose spec is invalid doesn't do what its spec asks.
    if blocker := situation.blocker:
        return "False", blocker.reason, blocker.message
    if lifecycle.suspension is Suspension.RELEASED:
        return "True", "Suspended", "The job is suspended as spec.suspend asks."
    if progressing := _progress(situation):
        return "False", *progressing
    return "True", "Running", "All pods are ready and the current stage runs."


def _reconciling(situation: Situation) -> Judgement:
    lifecycle = situation.lifecycle
    settled = lifecycle.over or lifecycle.suspension is Suspension.RELEASED or situation.blocker
    progressing = None if settled else _progress(situation)
    if progressing:
        return "True", *progressing
    return "False", "Settled", "Nothing is on its way."


def _progress(situation: Situation) -> tuple[str, str] | None:
    """What must still happen before the job is as its spec asks."""
    if situation.lifecycle.suspension is Suspension.DRAINING:
        return "Draining", "Waiting for a checkpoint before the pods are released."
    if situation.lifecycle.suspension is Suspension.RELEASING:
        return "Releasing", "The pods are being released."
    # Before the pods: a coordinator whose store fails isn't ready, and the store is the reason.
    if warning := situation.warning:
        return warning.reason, warning.message
    short = {role: pair for role, pair in situation.pods.items() if pair[0] < pair[1]}
    if short:
        counts = ", ".join(f"{role} {ready}/{size}" for role, (ready, size) in short.items())
        return "PodsNotReady", f"Waiting for pods to become ready: {counts}.{_why(situation)}"
    if situation.pending:
        return "CoordinatorBehind", situation.pending
    if situation.lifecycle.checking:
        return "CheckingInputs", (
            "The coordinator checks data, endpoints and models; pods with GPUs start after that."
        )
    return None


def _why(situation: Situation) -> str:
    """Each reason with the first few pods that wait for it, a sentence each."""
    pods: dict[str, list[str]] = {}
    for pod, why in situation.waiting.items():
        pods.setdefault(why.strip().rstrip(".:"), []).append(pod)
    sentences = [f" {_some(names)}: {why}." for why, names in pods.items()]
    more = len(sentences) - MAX_REASONS
    return "".join(sentences[:MAX_REASONS]) + (f" {more} more reasons." if more > 0 else "")


def _some(names: list[str]) -> str:
    more = len(names) - MAX_NAMED_PODS
    return ", ".join(names[:MAX_NAMED_PODS]) + (f" and {more} more" if more > 0 else "")


def _stalled(situation: Situation) -> Judgement:
    if situation.lifecycle.outcome is Outcome.COMPLETE or not (blocker := situation.blocker):
        return "False", "NotStalled", "Nothing waits for a person."
    return "True", blocker.reason, blocker.message


def _suspended(lifecycle: Lifecycle) -> Judgement:
    match lifecycle.suspension:
        case Suspension.RELEASED:
            return "True", "Released", "All pods are released; set spec.suspend to false to go on."
        case Suspension.RELEASING:
            return "Unknown", "Releasing", "The pods are being released."
        case Suspension.DRAINING:
            return "Unknown", "Draining", "Waiting for a checkpoint before the pods are released."
        case _:
            return "False", "NotSuspended", "spec.suspend is false."


def _complete(lifecycle: Lifecycle) -> Judgement:
    if lifecycle.outcome is Outcome.COMPLETE:
        return "True", "Completed", "All stages are complete."
    return "False", "NotComplete", "There are stages to run."


def _failed(lifecycle: Lifecycle) -> Judgement:
    if lifecycle.outcome is Outcome.FAILED and lifecycle.failed:
        return "True", lifecycle.failed.reason, lifecycle.failed.message
    return "False", "NotFailed", "The job hasn't failed."
