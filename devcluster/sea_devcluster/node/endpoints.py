"""Which pods stand behind a Service: what the endpoint controllers would publish. Pure.

The API server refuses EndpointSlices with addresses in 127.0.0.0/8, where our pods live, so the
node agent applies the controllers' rules itself, to the pods of all nodes.
"""

from collections.abc import Iterable

from .wire import Json


def published(service: Json, pods: Iterable[Json]) -> list[Json]:
    """The pods of the Service's own namespace that its name resolves to."""
    selector = service["spec"].get("selector")
    if not selector:
        return []
    unready_too = bool(service["spec"].get("publishNotReadyAddresses"))
    return [
        pod
        for pod in pods
        if _selected(pod, selector) and _has_address(pod) and (unready_too or _serves(pod))
    ]


def address_of(pod: Json) -> str:
    """The pod's address."""
    return str(pod["status"]["podIP"])


def untranslated_ports(service: Json, pods: Iterable[Json]) -> list[str]:
    """Sentences for the ports of a clusterIP Service that its pods serve under another number."""
    if service["spec"].get("clusterIP") in {None, "None", ""}:
        return []
    behind = [pod for pod in pods if _selected(pod, service["spec"].get("selector") or {})]
    sentences = []
    for port in service["spec"].get("ports") or []:
        targets = {_target(port, pod) for pod in behind} - {None, port["port"]}
        if targets:
            numbers = ", ".join(str(one) for one in sorted(filter(None, targets)))
            sentences.append(
                f"Port {port['port']} of the Service is {numbers} in its pods, and the devcluster "
                "doesn't translate ports: connect to the pods' port, or make both equal."
            )
    return sentences


def _target(port: Json, pod: Json) -> int | None:
    target = port.get("targetPort", port["port"])
    if isinstance(target, int):
        return target
    for container in pod["spec"]["containers"]:
        for one in container.get("ports") or []:
            if one.get("name") == target:
                return int(one["containerPort"])
    return None


def _selected(pod: Json, selector: Json) -> bool:
    labels = pod["metadata"].get("labels") or {}
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def _has_address(pod: Json) -> bool:
    status = pod.get("status") or {}
    return bool(status.get("podIP")) and status.get("phase") not in {"Succeeded", "Failed"}


def _serves(pod: Json) -> bool:
    if pod["metadata"].get("deletionTimestamp"):
        return False
    conditions = pod["status"].get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
