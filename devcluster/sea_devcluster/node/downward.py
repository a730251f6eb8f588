"""What a pod may learn about itself: fieldRef in env and downwardAPI volumes. Pure."""

import re
from dataclasses import dataclass

from .errors import MissingReferenceError
from .wire import Json

_KEYED = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


@dataclass(frozen=True)
class PodFacts:
    """What this node knows about a pod beside its object."""

    pod_ip: str
    host_ip: str


def field_value(pod: Json, path: str, facts: PodFacts) -> str:
    """The text behind a fieldRef's fieldPath."""
    metadata = pod["metadata"]
    keyed = _KEYED.fullmatch(path)
    if keyed:
        return str((metadata.get(keyed[1]) or {}).get(keyed[2], ""))
    if path in {"metadata.labels", "metadata.annotations"}:
        entries = (metadata.get(path.removeprefix("metadata.")) or {}).items()
        return "\n".join(f'{key}="{_escape(value)}"' for key, value in sorted(entries))
    values = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.nodeName": pod["spec"].get("nodeName", ""),
        "spec.serviceAccountName": pod["spec"].get("serviceAccountName", ""),
        "status.podIP": facts.pod_ip,
        "status.podIPs": facts.pod_ip,
        "status.hostIP": facts.host_ip,
        "status.hostIPs": facts.host_ip,
    }
    if path not in values:
        message = f"fieldRef {path!r} isn't known; use one of {', '.join(sorted(values))}."
        raise MissingReferenceError(message)
    return str(values[path])


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
