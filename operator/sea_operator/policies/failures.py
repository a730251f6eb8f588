"""Detects failures: the trainer's from the coordinator's state, others from their pods' status.

And pods that died with their node: nobody but the operator can end their deletion.
"""

from dataclasses import dataclass

from sea_api.v1alpha1.policy import Cause, Role
from sea_api.wire.state import TrainerFailure
from sea_operator.elasticity import grown
from sea_operator.observed import Observed
from sea_operator.pods import Pod, Termination
from sea_operator.timestamps import unix_seconds

RECENT_SECONDS = 120.0
"""Upper bound from a pod's replacement to the failure that its absence causes."""
LATER_SECONDS = 10.0
"""Pods of a job that are created together are at most this far apart."""

GANGS = frozenset({Role.TRAINER, Role.COORDINATOR})
"""Roles whose pods write to the object store."""

GRACEFUL = frozenset({0, 143})
"""Exit codes of a container that stopped as asked (143: SIGTERM)."""


@dataclass(frozen=True)
class DetectedFailure:
    """One failure."""

    role: Role
    cause: Cause
    pod: str
    message: str
    time: float
    """Unix seconds."""
    edited: bool = False
    """Whether the spec was edited since."""


def of_trainer(
    observed: Observed, attempt: int, ours: frozenset[str] = frozenset()
) -> DetectedFailure | None:
    """Failure of the running attempt; failures of earlier attempts are handled already.

    `ours`: pods that the operator itself replaced a moment ago.
    """
    failure = observed.state.trainer_failure if observed.state else None
    # The coordinator reports a failure until it gets the next attempt. Without this check each pass
    # in between would count it again.
    if failure is None or failure.attempt != attempt:
        return None
    cause = _blamed(failure, observed, ours)
    edited = observed.job.generation > failure.spec_generation
    return DetectedFailure(Role.TRAINER, cause, failure.pod, failure.message, failure.time, edited)


def of_others(observed: Observed, now: float) -> tuple[DetectedFailure, ...]:
    """Containers of other roles that failed, as long as their pod's status shows it.

    Not of an engine that an elastic role only tries: the role works without it, and a rule that
    fails the job or restarts the role would act on a pod that nobody counts.
    """
    return tuple(
        _terminated(pod, termination, now)
        for pod in observed.pods
        if pod.role not in (None, Role.TRAINER) and pod.deleted is None
        # One whose deletion failed was counted when it was asked for, and is tried again.
        if not observed.is_spare(pod) and pod.uid not in observed.undeleted
        for termination in pod.terminations
        if termination.exit_code not in GRACEFUL and not _ended_before(observed, pod, termination)
    )


def _ended_before(observed: Observed, pod: Pod, ended: Termination) -> bool:
    """Whether a container that runs again had ended before its elastic role counted the pod."""
    memory = observed.job.elastic(pod.role) if pod.role else None
    if memory is None or not ended.previous or not ended.finished:
        return False
    return unix_seconds(ended.finished) < grown(memory)


def _blamed(failure: TrainerFailure, observed: Observed, ours: frozenset[str]) -> Cause:
    """The infrastructure if it removed a trainer pod, else the coordinator's cause."""
    # A node that takes away a pod without a rank is to blame for nothing.
    pods = [pod for pod in observed.of_role(Role.TRAINER) if not observed.is_spare(pod)]
    # Most specific first: a dead node's pods are also being deleted, which looks like an eviction.
    if any(_on_dead_node(pod, observed.dead_nodes) for pod in pods):
        return Cause.NODE_LOSS
    # StatefulSets recreate pods within seconds: one that is missing now was just removed.
    missing = len(pods) < (len(observed.rank_pods) or _trainer_size(observed))
    # A job whose pods are all new has replaced none of them.
    eldest = min((pod.created for pod in observed.pods), default=failure.time)
    others = [pod for pod in pods if pod.disrupted or pod.name not in ours]
    if missing or any(_taken_away(pod, failure.time, eldest) for pod in others):
        return Cause.EVICTION
    return failure.cause


def _trainer_size(observed: Observed) -> int:
    """Pods that the trainer should have, those that an elastic one has given up left out."""
    elastic, spec = observed.job.status.elastic, observed.job.spec
    if elastic is not None and elastic.trainer is not None:
        return elastic.trainer.size
    return spec.trainer.replicas if spec is not None else 0


def _on_dead_node(pod: Pod, dead: frozenset[str]) -> bool:
    return pod.node in dead


def _taken_away(pod: Pod, time: float, eldest: float) -> bool:
    """Evicted, being deleted, or created just before the failure while the other pods are older."""
    replaced = pod.created > eldest + LATER_SECONDS and pod.created >= time - RECENT_SECONDS
    return pod.disrupted or pod.deleted is not None or replaced


def _terminated(pod: Pod, termination: Termination, now: float) -> DetectedFailure:
    assert pod.role is not None
    killed = termination.reason == "OOMKilled"
    cause = Cause.OUT_OF_MEMORY if killed else Cause.PROCESS_EXIT
    message = (
        f"Container {termination.container} of pod {pod.name} ended with exit code "
        f"{termination.exit_code} ({termination.reason or 'Error'})."
    )
    return DetectedFailure(pod.role, cause, pod.name, message, now)


def lost_pods(observed: Observed, now: float, grace: float) -> tuple[Pod, ...]:
    """Pods whose deletion is overdue by `grace` seconds and whose node can't confirm it."""
    return tuple(
        pod
        for pod in observed.pods
        if pod.deleted is not None
        and pod.node in observed.dead_nodes
        # `deleted` already includes the pod's grace period: this is how long it's overdue.
        and now - pod.deleted >= grace
    )


def undeleted(observed: Observed) -> tuple[Pod, ...]:
    """Pods that had to go for a failure, whose deletion failed and is tried again.

    The failure is acted on once, so no later pass asks for it. A pod that goes for another reason
    (a template, a Secret) is asked for as long as that holds, and not by this.
    """
    return tuple(
        pod for pod in observed.pods if pod.uid in observed.undeleted and _goes(observed, pod)
    )


def _goes(observed: Observed, pod: Pod) -> bool:
    if pod.role is Role.TRAINER:
        # Not once it holds ranks of the attempt that began with it: that one would end too.
        return pod.name not in observed.rank_pods
    return any(one.exit_code not in GRACEFUL for one in pod.terminations)


def to_fence(observed: Observed, pods: tuple[Pod, ...]) -> tuple[str, ...]:
    """Uids of lost pods that may still write to the object store.

    A new attempt is recorded before they are force-deleted: their commits then fail. A pod without
    a rank writes nothing, and costs no attempt.
    """
    # Sorted: another order would be another status, and a write.
    found = (pod for pod in pods if pod.role in GANGS and not observed.is_spare(pod))
    return tuple(sorted(pod.uid for pod in found))
