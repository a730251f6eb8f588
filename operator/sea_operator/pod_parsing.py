"""Parses pods and nodes into what the policies read, and says in words what they wait for. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sea_api.contract import SECRETS_ANNOTATION
from sea_operator.observed import role_of, template_hash_of
from sea_operator.pods import Pod, Termination

Object = Mapping[str, Any]


def pod(live: Object) -> Pod:
    """A pod of a job."""
    meta, status = live["metadata"], live.get("status", {})
    labels = meta.get("labels", {})
    return Pod(
        name=meta["name"],
        uid=meta["uid"],
        role=role_of(labels),
        template_hash=template_hash_of(labels),
        ip=status.get("podIP"),
        ready=_has(status, "Ready"),
        created=_time(meta["creationTimestamp"]),
        node=live.get("spec", {}).get("nodeName"),
        owner=_controller(meta),
        began=status.get("phase", "Pending") != "Pending",
        secrets_digest=meta.get("annotations", {}).get(SECRETS_ANNOTATION),
        # The API server sets it to the end of the grace period, not to the time of the request.
        deleted=_time(meta["deletionTimestamp"]) if "deletionTimestamp" in meta else None,
        # The condition covers preemption, drains and taints; `Evicted` is what the kubelet
        # sets under node pressure.
        disrupted=_has(status, "DisruptionTarget") or status.get("reason") == "Evicted",
        terminations=tuple(_terminations(status)),
        waiting=waiting(live),
        finalizers=tuple(meta.get("finalizers", ())),
        ever_ready=_ever_ready(status),
        images=_images(status),
        cut_off=_has(status, "ContainersReady") and not _has(status, "Ready"),
    )


def _controller(meta: Object) -> str | None:
    owners = meta.get("ownerReferences", [])
    return next((str(owner["uid"]) for owner in owners if owner.get("controller")), None)


OWN_CONTAINERS = frozenset({"coordinator", "trainer", "engine", "worker"})
"""Containers whose end is a failure of the job; any other is somebody else's (`resources/`)."""
ON_ITS_WAY = frozenset({"ContainerCreating", "PodInitializing"})
"""Reasons of a container that is starting normally."""
FIRST_SYNC_SECONDS = 5.0
"""Within which a kubelet that has seen a pod sets its condition `Ready` for the first time."""
KINDS = {"init container": "initContainerStatuses", "container": "containerStatuses"}


def waiting(live: Object) -> str:
    """Why a pod can't run, from its spec and status; empty if nothing is wrong."""
    status = live.get("status", {})
    for found in status.get("conditions", []):
        if (found["type"], found["status"]) == ("PodScheduled", "False"):
            return _unscheduled(live, found)
    # Init containers first: while one fails, the others can't start. Injected containers count too,
    # since a pod isn't ready without them.
    for kind, field in KINDS.items():
        for container in status.get(field, []):
            if not container.get("ready") and (why := _stuck(container)):
                return f"{kind} {container['name']} {why}"
    return ""


def _unscheduled(live: Object, found: Object) -> str:
    gates = [gate["name"] for gate in live.get("spec", {}).get("schedulingGates", [])]
    if gates:
        return f"not scheduled before its scheduling gates are removed: {', '.join(gates)}"
    return f"{found.get('reason', 'Unschedulable')}: {found.get('message', '')}"


def _stuck(container: Object) -> str:
    """How a container keeps failing, or what it waits for.

    The same words from one back-off to the next, since each change of a message costs a write: not
    the kubelet's, which count seconds, and not whether it runs again at the moment.
    """
    state, restarts = container.get("state", {}), container.get("restartCount", 0)
    ends = _ends(container)
    if ends:
        times = "once" if restarts == 1 else f"{restarts} times"
        again = f"restarted {times} and " if restarts else ""
        return f"{again}last ended with {_termination(container, ends[0]).words}"
    found = state.get("waiting") or {}
    if not found.get("reason") or found["reason"] in ON_ITS_WAY:
        return ""
    return f"can't start: {found['reason']}: {found.get('message', '')}"


def _ever_ready(status: Object) -> bool:
    """Whether the condition `Ready` was ever True: from its last transition.

    A kubelet sets it to False as soon as it has seen the pod, and then it moves only when the pod
    becomes ready.
    """
    found = _condition(status, "Ready")
    if found.get("status") == "True":
        return True
    moved, seen = found.get("lastTransitionTime"), status.get("startTime")
    # Unknown counts as yes: it only keeps a job from being called stalled.
    return not moved or not seen or _time(moved) > _time(seen) + FIRST_SYNC_SECONDS


def node_trouble(name: str, node: Object | None) -> str | None:
    """Why a node's pods can't report, and since when; None if its kubelet talks."""
    if node is None:
        return f"its node {name} is gone"
    if not is_dead(node):
        return None
    found = _condition(node.get("status", {}), "Ready")
    since, message = found.get("lastTransitionTime"), found.get("message", "").rstrip(".")
    when = f" since {since}" if since else ""
    return f"its node {name} isn't ready{when}" + (f" ({message})" if message else "")


def is_dead(node: Object) -> bool:
    """Whether a node's kubelet has stopped talking to the control plane."""
    # Unknown counts as dead: the node controller sets it when the kubelet stops renewing.
    return not _has(node.get("status", {}), "Ready")


def event_time(event: Object) -> float:
    """When something last happened again, in unix seconds."""
    times = (event.get("lastTimestamp"), event.get("eventTime"))
    return _time(next((time for time in times if time), event["metadata"]["creationTimestamp"]))


def _has(status: Object, condition: str) -> bool:
    return _condition(status, condition).get("status") == "True"


def _condition(status: Object, kind: str) -> Object:
    """Empty if there is none of this type."""
    conditions = status.get("conditions", [])
    return next((found for found in conditions if found["type"] == kind), {})


def _images(status: Object) -> tuple[tuple[str, str], ...]:
    """Empty for containers that haven't started: their node hasn't resolved the image yet."""
    return tuple(
        (container["name"], container["imageID"])
        for container in status.get("containerStatuses", [])
        if container["name"] in OWN_CONTAINERS and container.get("imageID")
    )


def _terminations(status: Object) -> list[Termination]:
    return [
        _termination(container, ended)
        for container in status.get("containerStatuses", [])
        if container["name"] in OWN_CONTAINERS
        for ended in _ends(container)
    ]


def _termination(container: Object, ended: Object) -> Termination:
    return Termination(
        container["name"],
        int(ended["exitCode"]),
        ended.get("reason", ""),
        ended.get("message", ""),
        int(container.get("restartCount", 0)),
        ended.get("finishedAt", ""),
        "terminated" not in container.get("state", {}),
    )


def _ends(container: Object) -> list[Object]:
    """The newest end of a container, of its current or its last run."""
    states = (container.get("state", {}), container.get("lastState", {}))
    # `state` first: a container that ended twice has both.
    return [state["terminated"] for state in states if "terminated" in state][:1]


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
