"""The text of a pod's /etc/hosts, this node's replacement for cluster DNS. Pure.

A Service's name resolves to the address of one of its ready pods (the lowest), because nothing
translates clusterIPs here; so `targetPort` must equal `port`. Names of StatefulSet pods come from
their hostname and subdomain. The API server refuses EndpointSlices with addresses in 127.0.0.0/8,
where our pods are, so the endpoint controllers' rules are applied here, to the pods of all nodes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .kube_json import Json

CLUSTER_DOMAIN = "cluster.local"


def published(service: Json, pods: Iterable[Json]) -> list[Json]:
    """The pods to which a Service's name resolves, among `pods` of its namespace."""
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
    """One sentence per port of a clusterIP Service that its pods serve under another number."""
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


@dataclass(frozen=True, order=True)
class NameRecord:
    """A name in the cluster: of a Service (no hostname) or of one pod behind it."""

    namespace: str
    service: str
    hostname: str
    address: str

    def names(self, namespace: str) -> list[str]:
        """All forms of the name that resolve for a pod in `namespace`."""
        stem = f"{self.hostname}.{self.service}" if self.hostname else self.service
        full = f"{stem}.{self.namespace}"
        spellings = [f"{full}.svc.{CLUSTER_DOMAIN}", f"{full}.svc", full]
        if namespace == self.namespace:
            spellings += [stem, *([self.hostname] if self.hostname else [])]
        return spellings


def name_records(services: Iterable[Json], pods: Iterable[Json], api_host: str) -> list[NameRecord]:
    """Every name that cluster DNS would publish, sorted."""
    by_namespace: dict[str, list[Json]] = {}
    for pod in pods:
        by_namespace.setdefault(pod["metadata"]["namespace"], []).append(pod)
    # No pod is behind this Service: its endpoint is the API server.
    records = {NameRecord("default", "kubernetes", "", api_host)}
    for service in services:
        namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
        behind = published(service, by_namespace.get(namespace, []))
        for pod in behind:
            if pod["spec"].get("hostname") and pod["spec"].get("subdomain") == name:
                records.add(NameRecord(namespace, name, host_name(pod), address_of(pod)))
        # A name without a ready pod must not resolve, as in cluster DNS for headless Services.
        if behind:
            first = min(map(address_of, behind), key=_numerically)
            records.add(NameRecord(namespace, name, "", first))
    return sorted(records)


def own_names(pod: Json) -> list[str]:
    """A pod's names for itself, which exist before any endpoint is published."""
    spec, metadata = pod["spec"], pod["metadata"]
    hostname = host_name(pod)
    if not spec.get("subdomain"):
        return [hostname]
    full = f"{hostname}.{spec['subdomain']}.{metadata['namespace']}"
    short = f"{hostname}.{spec['subdomain']}"
    return [f"{full}.svc.{CLUSTER_DOMAIN}", f"{full}.svc", full, short, hostname]


def host_name(pod: Json) -> str:
    """`spec.hostname`, or the pod's name truncated to the length of a hostname."""
    name = str(pod["spec"].get("hostname") or pod["metadata"]["name"])
    return name[:63].rstrip("-.")


def hosts_text(
    address: str,
    names: Sequence[str],
    namespace: str,
    records: Iterable[NameRecord],
    extra: Mapping[str, Sequence[str]],
) -> str:
    """The file's text: loopback, the pod itself, `extra` names by address, the cluster's names."""
    lines = [
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost",
        f"{address}\t{' '.join(names)}",
    ]
    lines += [f"{where}\t{' '.join(aliases)}" for where, aliases in sorted(extra.items())]
    # The pod's own names come first and once: the resolver takes the first line that matches.
    own = set(names)
    for record in records:
        spellings = [name for name in record.names(namespace) if name not in own]
        if spellings:
            lines.append(f"{record.address}\t{' '.join(spellings)}")
    return "\n".join(["# Written by the devcluster's node agent.", *lines]) + "\n"


def _numerically(address: str) -> tuple[int, ...]:
    return tuple(int(part) for part in address.split(".")) if address.count(".") == 3 else (256,)
