"""The pod fields that this node refuses, each with a sentence naming the field. Pure.

A node that silently ignored a field would make a devcluster behave unlike a real cluster. Accepted
but not enforced: securityContext (except `privileged`), resource requests and limits,
imagePullPolicy, dnsPolicy, enableServiceLinks.
"""

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from .kube_json import Json

SUPPORTED_VOLUMES = {"emptyDir", "configMap", "secret", "projected", "downwardAPI", "hostPath"}
SUPPORTED_PROJECTIONS = {"serviceAccountToken", "configMap", "secret", "downwardAPI"}
_POD_SWITCHES = {
    "hostNetwork": "every pod has its own address in 127.0.0.0/8",
    "hostPID": "every container has its own PID namespace",
    "hostIPC": "every container has its own IPC namespace",
    "shareProcessNamespace": "every container has its own PID namespace",
    "runtimeClassName": "bubblewrap is the only runtime",
    "resourceClaims": "there is no device driver for resource claims",
}
_CONTAINER_FIELDS = {
    "lifecycle": "hooks aren't run here; handle SIGTERM in the program",
    "volumeDevices": "there are no block devices",
    "stdin": "there is no way to attach",
    "tty": "there is no terminal to attach to",
}


def refusals(pod: Json, allow_host_path: Sequence[str] = ()) -> list[str]:
    """One sentence per field of the pod that this node doesn't implement."""
    return list(_refusals(pod["spec"], allow_host_path))


def not_started(pod: Json) -> list[str]:
    """One sentence per ephemeral container that was added to the pod (`kubectl debug`).

    The pod itself continues: an ephemeral container that can't run is no reason to stop it.
    """
    return [
        f"Ephemeral container {one['name']!r} isn't started: the devcluster doesn't support them; "
        "look at the logs instead (`kubectl logs`)."
        for one in pod["spec"].get("ephemeralContainers") or []
    ]


def _refusals(spec: Json, allow_host_path: Sequence[str]) -> Iterator[str]:
    for field, why in _POD_SWITCHES.items():
        if spec.get(field):
            yield f"spec.{field} isn't supported by the devcluster: {why}."
    for index, volume in enumerate(spec.get("volumes") or []):
        yield from _volume(f"spec.volumes[{index}]", volume, allow_host_path)
    for kind in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(kind) or []):
            yield from _container(f"spec.{kind}[{index}]", container)


def _container(where: str, container: Json) -> Iterator[str]:
    for field, why in _CONTAINER_FIELDS.items():
        if container.get(field):
            yield f"{where}.{field} isn't supported by the devcluster: {why}."
    if (container.get("securityContext") or {}).get("privileged"):
        yield f"{where}.securityContext.privileged isn't supported by the devcluster: remove it."
    for port in container.get("ports") or []:
        if port.get("hostPort"):
            yield f"{where}.ports.hostPort isn't supported by the devcluster: use the pod IP."
    yield from _probes(where, container)
    for env in container.get("env") or []:
        if "resourceFieldRef" in (env.get("valueFrom") or {}):
            yield f"{where}.env {env['name']}: resourceFieldRef isn't supported by the devcluster."
    for mount in container.get("volumeMounts") or []:
        yield from _mount(where, mount)


def _probes(where: str, container: Json) -> Iterator[str]:
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        if "grpc" in (container.get(probe) or {}):
            yield f"{where}.{probe}.grpc isn't supported by the devcluster: use httpGet."


def _mount(where: str, mount: Json) -> Iterator[str]:
    if mount.get("subPathExpr"):
        yield f"{where}.volumeMounts.subPathExpr isn't supported by the devcluster: use subPath."
    sub_path = PurePosixPath(mount.get("subPath", ""))
    if sub_path.is_absolute() or ".." in sub_path.parts:
        yield f"{where}.volumeMounts.subPath {str(sub_path)!r} leaves the volume: use a plain path."
    if mount.get("mountPropagation", "None") != "None":
        yield f"{where}.volumeMounts.mountPropagation isn't supported by the devcluster: remove it."


def _volume(where: str, volume: Json, allow_host_path: Sequence[str]) -> Iterator[str]:
    kinds = set(volume) - {"name"}
    for kind in sorted(kinds - SUPPORTED_VOLUMES):
        known = ", ".join(sorted(SUPPORTED_VOLUMES))
        yield f"{where}.{kind} isn't supported by the devcluster: use one of {known}."
    if (volume.get("emptyDir") or {}).get("sizeLimit"):
        yield f"{where}.emptyDir.sizeLimit isn't supported by the devcluster: remove it."
    if "hostPath" in kinds:
        path = PurePosixPath(volume["hostPath"]["path"])
        if ".." in path.parts or not any(path.is_relative_to(one) for one in allow_host_path):
            allowed = ", ".join(allow_host_path) or "none"
            yield f"{where}.hostPath {path} isn't allowed on this node (allowed: {allowed})."
    for source in (volume.get("projected") or {}).get("sources") or []:
        for kind in sorted(set(source) - SUPPORTED_PROJECTIONS):
            yield f"{where}.projected.sources.{kind} isn't supported by the devcluster."
    for item in _downward_items(volume):
        if "resourceFieldRef" in item:
            yield f"{where} {item['path']}: resourceFieldRef isn't supported by the devcluster."


def _downward_items(volume: Json) -> Iterator[Json]:
    yield from (volume.get("downwardAPI") or {}).get("items") or []
    for source in (volume.get("projected") or {}).get("sources") or []:
        yield from (source.get("downwardAPI") or {}).get("items") or []
