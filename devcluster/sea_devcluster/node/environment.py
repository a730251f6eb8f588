"""A container's environment: the image's variables, the cluster's, then envFrom, then env.

Holds the two pure functions behind it: `$(VAR)` expansion and the downward API's fields.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from .config import ImageConfig, NodeConfig
from .hosts import host_name
from .kube_json import Json
from .references import Data, MissingReferenceError, References, missing_key, missing_object

_REFERENCE = re.compile(r"\$(?:\$|\(([^()]*)\))")
_KEYED = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_FROM_SOURCES = {"secretRef": "Secret", "configMapRef": "ConfigMap"}
_KEY_SOURCES = {"secretKeyRef": "Secret", "configMapKeyRef": "ConfigMap"}
Lookup = Mapping[tuple[str, str], Data | None]


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replaces `$(NAME)` by its value; `$$` is a dollar sign, unknown names stay unchanged."""

    def replacement(match: re.Match[str]) -> str:
        if match.group(0) == "$$":
            return "$"
        return variables.get(match.group(1), match.group(0))

    return _REFERENCE.sub(replacement, text)


@dataclass(frozen=True)
class PodFacts:
    """What only the node knows about a pod."""

    pod_ip: str
    host_ip: str


def field_value(pod: Json, path: str, facts: PodFacts) -> str:
    """The value of a fieldRef's fieldPath, as text."""
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


def base_environment(pod: Json, image: ImageConfig, config: NodeConfig) -> dict[str, str]:
    """The variables of every container. HOME is its own tmpfs: nothing leaks in from the host.

    Service variables other than the API server's are omitted, as with enableServiceLinks=false.
    """
    return {
        "PATH": ":".join([*image.path, DEFAULT_PATH]),
        "HOME": "/tmp",  # noqa: S108 - a tmpfs of the container's own
        "LANG": "C.UTF-8",
        "HOSTNAME": host_name(pod),
        **image.env,
        "KUBERNETES_SERVICE_HOST": config.api_host,
        "KUBERNETES_SERVICE_PORT": str(config.api_port),
        "KUBERNETES_SERVICE_PORT_HTTPS": str(config.api_port),
        "KUBERNETES_PORT": f"tcp://{config.api_host}:{config.api_port}",
    }


async def fetch_sources(pod: Json, container: Json, references: References) -> Lookup:
    """Every Secret and ConfigMap that the container's env and envFrom name, by (kind, name)."""
    wanted = {
        (kind, source[field]["name"])
        for source in container.get("envFrom") or []
        for field, kind in _FROM_SOURCES.items()
        if field in source
    } | {
        (kind, (entry.get("valueFrom") or {})[field]["name"])
        for entry in container.get("env") or []
        for field, kind in _KEY_SOURCES.items()
        if field in (entry.get("valueFrom") or {})
    }
    namespace = pod["metadata"]["namespace"]
    return {key: await references.data(key[0], namespace, key[1]) for key in sorted(wanted)}


def compose(
    base: Mapping[str, str], pod: Json, container: Json, facts: PodFacts, lookup: Lookup
) -> dict[str, str]:
    """The final environment. Pure.

    Raises:
        MissingReferenceError: A required Secret, ConfigMap or key doesn't exist.
    """
    # Later ones win, and `$(NAME)` sees those before it only, as in Kubernetes.
    environment = dict(base)
    for source in container.get("envFrom") or []:
        environment.update(_from_source(pod, source, lookup))
    for entry in container.get("env") or []:
        value = _value(pod, entry, facts, lookup, environment)
        if value is not None:
            environment[entry["name"]] = value
    return environment


def _from_source(pod: Json, source: Json, lookup: Lookup) -> dict[str, str]:
    for field, kind in _FROM_SOURCES.items():
        if field in source:
            data = lookup.get((kind, source[field]["name"]))
            if data is None and not source[field].get("optional"):
                raise missing_object(kind, pod["metadata"]["namespace"], source[field]["name"])
            prefix = source.get("prefix", "")
            return {f"{prefix}{key}": _text(value) for key, value in (data or {}).items()}
    return {}


def _value(
    pod: Json, entry: Json, facts: PodFacts, lookup: Lookup, so_far: Mapping[str, str]
) -> str | None:
    origin = entry.get("valueFrom")
    if not origin:
        return expand(entry.get("value") or "", so_far)
    if "fieldRef" in origin:
        return field_value(pod, origin["fieldRef"]["fieldPath"], facts)
    for field, kind in _KEY_SOURCES.items():
        if field in origin:
            return _keyed(pod["metadata"]["namespace"], kind, origin[field], lookup)
    return None


def _keyed(namespace: str, kind: str, reference: Json, lookup: Lookup) -> str | None:
    data = lookup.get((kind, reference["name"]))
    if data is not None and reference["key"] in data:
        return _text(data[reference["key"]])
    if reference.get("optional"):
        return None
    if data is None:
        raise missing_object(kind, namespace, reference["name"])
    raise missing_key(kind, namespace, reference["name"], reference["key"])


def _text(value: bytes) -> str:
    return value.decode(errors="surrogateescape")
