"""Escalation: what a trainer's failure leads to when it strikes the same pod again. Pure.

A first failure costs a restart of the processes, which is over in seconds. One that comes back is
probably not an accident: then the pod goes, which may land on another node, then the whole role,
and in the end the job (`RestartBudget`). Where the pods themselves are gone, restarting in place
waits for them, and an elastic trainer goes on smaller (`elastic_trainer.py`). A node on which it
happened twice is avoided. Rules of the job come before all of this.
"""

from collections.abc import Mapping, Sequence

from sea_api.v1alpha1.policy import Action, Cause, FailurePolicy, FailureRule, Role
from sea_api.v1alpha1.status import PodFailure
from sea_operator.policies.failures import DetectedFailure
from sea_operator.timestamps import stamp, unix_seconds

LADDERS: Mapping[Cause, tuple[Action, ...]] = {
    Cause.PROCESS_EXIT: (Action.RESTART_PROCESS, Action.RESTART_POD, Action.RESTART_ROLE),
    Cause.HANG: (Action.RESTART_PROCESS, Action.RESTART_POD, Action.RESTART_ROLE),
    # Another node has as much memory: only the pod's own leftovers could differ.
    Cause.OUT_OF_MEMORY: (Action.RESTART_PROCESS, Action.RESTART_POD),
}
"""By cause: the action of the first failure of a pod, the second, and all later ones. Of other
causes the pod is gone already."""
NODE_CAUSES = frozenset({Cause.PROCESS_EXIT, Cause.HANG, Cause.NODE_LOSS})
"""Causes that a node can be to blame for."""
AVOIDED_AFTER = 2
"""Failures on one node."""
MEMORY_SECONDS = 24 * 3600
"""How long a failure is remembered."""
MAX_REMEMBERED = 32
REPLACED_SECONDS = 300
"""After a failure that replaced pods: for so long young ones are no sign of an eviction."""


def named_rule(policy: FailurePolicy, role: Role, cause: str) -> FailureRule | None:
    """The first of the job's own rules that matches."""
    return next(
        (rule for rule in policy.rules if rule.role is role and rule.cause in (cause, Cause.ANY)),
        None,
    )


def action(failure: DetectedFailure, before: Sequence[PodFailure]) -> Action:
    """What the operator does by itself.

    Args:
        before: earlier failures that are remembered.
    """
    ladder = LADDERS.get(failure.cause, (Action.RESTART_PROCESS,))
    if failure.role is not Role.TRAINER:
        return Action.RESTART_PROCESS
    times = sum(one.pod == failure.pod and one.cause == failure.cause for one in before)
    return ladder[min(times, len(ladder) - 1)]


def rule_for(
    policy: FailurePolicy, failure: DetectedFailure, before: Sequence[PodFailure]
) -> FailureRule:
    """The first rule of the job that matches, else the operator's own."""
    found = named_rule(policy, failure.role, failure.cause)
    counts = failure.role is Role.TRAINER
    return found or FailureRule(
        role=failure.role, cause=Cause.ANY, action=action(failure, before), counts=counts
    )


def replaced(
    policy: FailurePolicy, before: Sequence[PodFailure], names: Sequence[str], time: float
) -> frozenset[str]:
    """Those of the trainer pods `names` that the newest failure before `time` had replaced."""
    if not before:
        return frozenset()
    *earlier, last = before
    if last.cause not in set(Cause) or time - _time(last) > REPLACED_SECONDS:
        return frozenset()
    failure = DetectedFailure(Role.TRAINER, Cause(last.cause), last.pod, "", _time(last))
    done = rule_for(policy, failure, earlier).action
    if done is Action.RESTART_ROLE:
        return frozenset(names)
    return frozenset({last.pod}) if done is Action.RESTART_POD else frozenset()


def recent(before: Sequence[PodFailure], now: float) -> list[PodFailure]:
    """Those that are still remembered."""
    return [one for one in before if now - _time(one) < MEMORY_SECONDS]


def remembered(
    before: Sequence[PodFailure], failure: DetectedFailure, node: str | None, now: float
) -> list[PodFailure]:
    """The failures with a new one; `node`: where its pod is or was, None if unknown."""
    newest = PodFailure(
        pod=failure.pod, node=node, cause=failure.cause.value, time=stamp(failure.time)
    )
    return [*recent(before, now), newest][-MAX_REMEMBERED:]


def avoided(failures: Sequence[PodFailure]) -> tuple[str, ...]:
    """Nodes on which it happened twice, sorted."""
    nodes = [one.node for one in failures if one.node and one.cause in NODE_CAUSES]
    return tuple(sorted({node for node in nodes if nodes.count(node) >= AVOIDED_AFTER}))


def note(failures: Sequence[PodFailure]) -> str:
    """What a person should know of nodes that are avoided; empty if none is."""
    nodes = avoided(failures)
    if not nodes:
        return ""
    return (
        f"New trainer pods avoid {', '.join(nodes)}, where the trainer failed at least "
        f"{AVOIDED_AFTER} times within a day: look at the node, or cordon it."
    )


def _time(one: PodFailure) -> float:
    return unix_seconds(one.time)
