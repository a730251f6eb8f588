"""Computes a pod's status from its spec and its containers' records. Pure: no I/O, no clock."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from .container_record import ContainerRecord
from .exit_status import should_restart
from .kube_json import Json, timestamp


@dataclass(frozen=True)
class PodView:
    """Everything from which a pod's status is computed."""

    pod: Json
    records: Sequence[ContainerRecord]
    init_records: Sequence[ContainerRecord] = ()
    pod_ip: str | None = None
    host_ip: str | None = None
    start_time: datetime | None = None
    failure: tuple[str, str] | None = None
    """Reason and sentence of a pod that this node refused or gave up on."""
    ending: bool = False
    """True if nothing is restarted: the pod is being deleted or has failed as a whole."""


def pod_status(view: PodView, previous: Json, now: datetime) -> Json:
    """`PodStatus` as a strategic merge patch; `previous` supplies transition times.

    Fields that no longer apply are None, which removes them.
    """
    current = phase(view)
    reason, message = view.failure or (None, None)
    return {
        "phase": current,
        "reason": reason,
        "message": message,
        "hostIP": view.host_ip,
        "hostIPs": [{"ip": view.host_ip}] if view.host_ip else None,
        "podIP": view.pod_ip,
        "podIPs": [{"ip": view.pod_ip}] if view.pod_ip else None,
        "startTime": timestamp(view.start_time),
        "observedGeneration": view.pod["metadata"].get("generation"),
        "conditions": conditions(view, current, previous, now),
        "containerStatuses": [record.to_status() for record in view.records],
        "initContainerStatuses": [record.to_status() for record in view.init_records] or None,
    }


def phase(view: PodView) -> str:
    """The pod's phase, by a kubelet's rules."""
    if view.failure:
        return "Failed"
    policy = "Never" if view.ending else view.pod["spec"].get("restartPolicy", "Always")
    plain_init = [record for record in view.init_records if not is_sidecar(view.pod, record.name)]
    for record in plain_init:
        ended = record.terminated or record.last
        if ended is None or (ended.exit_code != 0 and should_restart(policy, ended.exit_code)):
            return "Pending" if not view.ending else "Failed"
        if ended.exit_code != 0:
            return "Failed"
    ends = [_final(record, policy) for record in view.records]
    if ends and all(code is not None for code in ends):
        return "Failed" if any(ends) else "Succeeded"
    if view.ending and not any(record.running_since for record in view.records):
        return "Failed"
    seen = [record.running_since or record.terminated or record.last for record in view.records]
    # A container that never ran keeps the whole pod Pending; one that waits to run again doesn't.
    return "Running" if all(seen) else "Pending"


def is_sidecar(pod: Json, name: str) -> bool:
    """True if `name` is an init container that keeps running alongside the main ones."""
    return any(
        one["name"] == name and one.get("restartPolicy") == "Always"
        for one in pod["spec"].get("initContainers") or []
    )


def conditions(view: PodView, current: str, previous: Json, now: datetime) -> list[Json]:
    """The conditions this node owns; others (PodScheduled, DisruptionTarget) are left alone."""
    done = current in {"Succeeded", "Failed"}
    unready = [record.name for record in view.records if not record.ready]
    uninitialized = [
        record.name for record in view.init_records if not _initialized(view.pod, record)
    ]
    gates = _closed_gates(view.pod)
    containers_ready = _containers_ready(unready, current)
    ready = containers_ready
    if ready[0] and gates:
        sentence = f"readiness gates not True: {', '.join(gates)}"
        ready = (False, "ReadinessGatesNotReady", sentence)
    wanted = {
        "PodReadyToStartContainers": (view.pod_ip is not None and not done, None, None),
        "Initialized": _initialized_condition(uninitialized, current),
        "ContainersReady": containers_ready,
        "Ready": ready,
    }
    old = {one["type"]: one for one in previous.get("conditions") or []}
    return [
        _condition(kind, *value, old.get(kind), now, view.pod["metadata"].get("generation"))
        for kind, value in wanted.items()
    ]


_Value = tuple[bool, str | None, str | None]


def _containers_ready(unready: list[str], current: str) -> _Value:
    if current in {"Succeeded", "Failed"}:
        return False, "PodCompleted" if current == "Succeeded" else "PodFailed", None
    if unready:
        names = " ".join(unready)
        return False, "ContainersNotReady", f"containers with unready status: [{names}]"
    return True, None, None


def _initialized_condition(uninitialized: list[str], current: str) -> _Value:
    if current == "Succeeded":
        return True, "PodCompleted", None
    if uninitialized:
        names = " ".join(uninitialized)
        return False, "ContainersNotInitialized", f"containers with incomplete status: [{names}]"
    return True, None, None


def _condition(
    kind: str,
    value: bool,
    reason: str | None,
    message: str | None,
    old: Json | None,
    now: datetime,
    generation: int | None,
) -> Json:
    status = "True" if value else "False"
    # As a kubelet does: the time moves when the status does, not with reason or message alone.
    unchanged = old is not None and old.get("status") == status
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
        "lastProbeTime": None,
        "lastTransitionTime": (old or {}).get("lastTransitionTime")
        if unchanged
        else timestamp(now),
    }


def _initialized(pod: Json, record: ContainerRecord) -> bool:
    if is_sidecar(pod, record.name):
        return record.started
    ended = record.terminated or record.last
    return ended is not None and ended.exit_code == 0


def _closed_gates(pod: Json) -> list[str]:
    gates = [gate["conditionType"] for gate in pod["spec"].get("readinessGates") or []]
    met = {
        one["type"]
        for one in (pod.get("status") or {}).get("conditions") or []
        if one["status"] == "True"
    }
    return [gate for gate in gates if gate not in met]


def _final(record: ContainerRecord, policy: str) -> int | None:
    """Exit code of a container that ended for good, None for one that runs or will run again."""
    if record.running_since:
        return None
    ended = record.terminated or (record.last if policy == "Never" else None)
    if ended is None or should_restart(policy, ended.exit_code):
        return None
    return ended.exit_code
