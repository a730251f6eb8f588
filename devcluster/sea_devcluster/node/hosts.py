"""The text of a pod's /etc/hosts: this node's stand-in for cluster DNS. Pure.

A Service's name resolves to the address of one of its ready endpoints (the lowest), because nothing
translates clusterIPs here; so `targetPort` must equal `port`. EndpointSlices carry the names of
StatefulSet pods (`hostname`) and say `ready` for unready pods of Services with
publishNotReadyAddresses, exactly what cluster DNS would publish.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .wire import Json

CLUSTER_DOMAIN = "cluster.local"
_SERVICE_LABEL = "kubernetes.io/service-name"


@dataclass(frozen=True, order=True)
class NameRecord:
    """One name of the cluster: a Service's (no hostname) or that of one pod behind it."""

    namespace: str
    service: str
    hostname: str
    address: str

    def names(self, namespace: str) -> list[str]:
        """All spellings that resolve for a pod in `namespace`."""
        stem = f"{self.hostname}.{self.service}" if self.hostname else self.service
        full = f"{stem}.{self.namespace}"
        spellings = [f"{full}.svc.{CLUSTER_DOMAIN}", f"{full}.svc", full]
        if namespace == self.namespace:
            spellings += [stem, *([self.hostname] if self.hostname else [])]
        return spellings


def name_records(slices: Iterable[Json], api_host: str) -> list[NameRecord]:
    """Every name that the EndpointSlices of the cluster publish, sorted."""
    records = {NameRecord("default", "kubernetes", "", api_host)}
    services: dict[tuple[str, str], list[str]] = {}
    for one in slices:
        metadata = one["metadata"]
        service = (metadata.get("labels") or {}).get(_SERVICE_LABEL)
        if not service or service == "kubernetes":
            continue
        key = (metadata["namespace"], service)
        for endpoint in one.get("endpoints") or []:
            if (endpoint.get("conditions") or {}).get("ready") is False:
                continue
            for address in endpoint["addresses"]:
                services.setdefault(key, []).append(address)
                if endpoint.get("hostname"):
                    records.add(NameRecord(*key, endpoint["hostname"], address))
    for (namespace, service), addresses in services.items():
        records.add(NameRecord(namespace, service, "", min(addresses, key=_numerically)))
    return sorted(records)


def own_names(pod: Json) -> list[str]:
    """The names a pod has for itself, known before any endpoint is published."""
    spec, metadata = pod["spec"], pod["metadata"]
    hostname = host_name(pod)
    if not spec.get("subdomain"):
        return [hostname]
    full = f"{hostname}.{spec['subdomain']}.{metadata['namespace']}"
    short = f"{hostname}.{spec['subdomain']}"
    return [f"{full}.svc.{CLUSTER_DOMAIN}", f"{full}.svc", full, short, hostname]


def host_name(pod: Json) -> str:
    """`spec.hostname`, or the pod's name cut to what a hostname may have."""
    name = str(pod["spec"].get("hostname") or pod["metadata"]["name"])
    return name[:63].rstrip("-.")


def hosts_text(
    address: str,
    names: Sequence[str],
    namespace: str,
    records: Iterable[NameRecord],
    extra: Mapping[str, Sequence[str]],
) -> str:
    """The file: loopback, the pod itself, extra addresses with their names, the cluster's names."""
    lines = [
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost",
        f"{address}\t{' '.join(names)}",
    ]
    lines += [f"{where}\t{' '.join(aliases)}" for where, aliases in sorted(extra.items())]
    own = set(names)
    for record in records:
        spellings = [name for name in record.names(namespace) if name not in own]
        if spellings:
            lines.append(f"{record.address}\t{' '.join(spellings)}")
    return "\n".join(["# Written by the devcluster's node agent.", *lines]) + "\n"


def untranslated_ports(service: Json, slices: Iterable[Json]) -> list[str]:
    """Sentences for the ports of a clusterIP Service that pods listen on under another number."""
    if service["spec"].get("clusterIP") in (None, "None", ""):
        return []
    listening = {
        port.get("name") or "": port.get("port")
        for one in slices
        for port in one.get("ports") or []
    }
    return [
        f"port {port['port']} of the Service is {target} in its pods: the devcluster doesn't "
        "translate ports, connect to the pods' port or make targetPort equal to port."
        for port in service["spec"].get("ports") or []
        if (target := listening.get(port.get("name") or "")) not in (None, port["port"])
    ]


def _numerically(address: str) -> tuple[int, ...]:
    return tuple(int(part) for part in address.split(".")) if address.count(".") == 3 else (256,)
