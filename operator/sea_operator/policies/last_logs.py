"""Which containers' logs are kept now: of those that failed, and of pods about to go. Pure.

A pod's log goes with the pod, and is all that says why it failed. `log_keeper.py` reads these from
the API server and has the coordinator store their ends in the run's folder.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sea_api.contract import ROLES, log_path, role_name
from sea_api.v1alpha1.policy import Role
from sea_operator.kube.client import POD, STATEFUL_SET
from sea_operator.observed import Observed
from sea_operator.plan import Plan
from sea_operator.pods import Pod
from sea_operator.policies.failures import GRACEFUL

CONTAINERS = {
    Role.COORDINATOR: ("coordinator",),
    Role.TRAINER: ("trainer",),
    Role.ROLLOUT: ("engine", "worker"),
    Role.USER: ("engine", "worker"),
}
MAX_PODS = 16
"""Of a role, whose logs are kept at one time: what hundreds of ranks say is mostly the same."""


@dataclass(frozen=True)
class LastLog:
    """The log of one run of one container."""

    pod: str
    uid: str
    container: str
    attempt: int
    """Attempt of the trainer while the container ran."""
    failed: bool
    previous: bool
    """Whether it is of the run before the current one."""
    end: str
    """Which end of the container it is about, so that each is kept once."""

    @property
    def path(self) -> str:
        """Relative to the run's folder."""
        return log_path(self.pod, self.container, self.attempt, failed=self.failed)


def of_failed(observed: Observed, attempt: int) -> tuple[LastLog, ...]:
    """Logs of containers that ended badly, of the trainer whose processes failed, and of pods that
    somebody else deletes; the trainer's come first."""
    pods = [pod for pod in observed.pods if _readable(observed, pod)]
    ended = [
        # A container that ended may be started again before its log is read, and then this is the
        # new run's: it is read again as the previous one.
        _log(
            pod,
            end.container,
            attempt,
            f"{end.finished} {end.previous}",
            failed=True,
            previous=end.previous,
        )
        for pod in pods
        for end in pod.terminations
        if end.exit_code not in GRACEFUL
    ]
    leaving = [pod for pod in pods if pod.deleted is not None]
    return (*_of_trainer(observed, pods, attempt), *ended, *_last(leaving, attempt))


def of_going(observed: Observed, plan: Plan) -> tuple[LastLog, ...]:
    """Logs of the pods that this plan deletes or scales away."""
    named = {one.uid for one in (*plan.removals, *plan.renewals) if one.kind is POD}
    sizes = {
        child["metadata"]["name"]: int(child["spec"]["replicas"])
        for child in plan.applies
        if child["kind"] == STATEFUL_SET.name
    }
    sizes |= {one.name: 0 for one in plan.removals if one.kind is STATEFUL_SET}
    # A StatefulSet removes its highest ordinals.
    going = [
        pod
        for pod in observed.pods
        if pod.deleted is None
        and _readable(observed, pod)
        and (pod.uid in named or pod.ordinal >= sizes.get(_set(observed, pod), pod.ordinal + 1))
    ]
    return _last(going, plan.lifecycle.attempt)


def _of_trainer(observed: Observed, pods: Sequence[Pod], attempt: int) -> tuple[LastLog, ...]:
    """The trainer's logs of a failed attempt: its processes ended, their container runs on."""
    failure = observed.state.trainer_failure if observed.state else None
    if failure is None or failure.attempt != attempt:
        return ()
    ranks = [pod for pod in pods if pod.role is Role.TRAINER]
    # The pod that failed first, then those that may have noticed it.
    ranks.sort(key=lambda pod: (pod.name != failure.pod, pod.ordinal))
    return tuple(
        _log(pod, container, attempt, f"attempt {attempt}", failed=True)
        for pod in ranks[:MAX_PODS]
        for container in CONTAINERS[Role.TRAINER]
    )


def _last(pods: Iterable[Pod], attempt: int) -> tuple[LastLog, ...]:
    """Logs of all containers of pods that go: of the first `MAX_PODS` of each role."""
    by_role: dict[Role, list[Pod]] = {role: [] for role in ROLES}
    for pod in pods:
        if pod.role is not None:
            by_role[pod.role].append(pod)
    return tuple(
        _log(pod, container, attempt, "last")
        for role, found in by_role.items()
        for pod in sorted(found, key=lambda pod: pod.ordinal)[:MAX_PODS]
        for container in CONTAINERS[role]
    )


def _log(
    pod: Pod,
    container: str,
    attempt: int,
    end: str,
    *,
    failed: bool = False,
    previous: bool = False,
) -> LastLog:
    return LastLog(pod.name, pod.uid, container, attempt, failed, previous, end)


def _readable(observed: Observed, pod: Pod) -> bool:
    """Whether its kubelet has started it and answers."""
    return pod.began and pod.node is not None and pod.node not in observed.dead_nodes


def _set(observed: Observed, pod: Pod) -> str:
    return role_name(observed.job.name, pod.role) if pod.role is not None else ""
