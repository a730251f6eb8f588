"""A role's pod template with the user's patch in it, and what the patch must leave alone.

The API refuses most of what would break the wiring (`pod_patch.py` of `sea_api`); a directive of a
patch, or a field that the API's rules can't see, is refused here, before any pod is made.
"""

from typing import Any

from sea_api.v1alpha1.names import GPU
from sea_api.v1alpha1.pod_patch import PodPatch, is_our_variable
from sea_operator.errors import OperatorError
from sea_operator.resources.strategic_merge import PatchError, merge

Object = dict[str, Any]

SAME = ("command", "args", "ports")
"""Fields of a container that the operator alone sets."""


OMITTED = frozenset({"hostIPC", "hostNetwork", "hostPID", "readOnly", "stdin", "stdinOnce", "tty"})
"""Flags that the API server doesn't store where they are false."""


class PatchRefusedError(OperatorError):
    """A patch of a pod template that would break how the operator wires the pods."""


def patched(template: Object, patch: PodPatch) -> Object:
    """The template with the patch merged in.

    Raises `PatchRefusedError` with a sentence that begins with the field below `patch`.
    """
    labels, annotations = patch.metadata.labels, patch.metadata.annotations
    fields = patch.spec.fields()
    if not (fields or labels or annotations):
        return template
    added = {"labels": labels, "annotations": annotations}
    # First the user's: the API refuses the operator's keys in them.
    metadata = {key: {**added[key], **ours} for key, ours in template["metadata"].items()}
    try:
        spec = merge(template["spec"], fields, ("spec",))
    except PatchError as error:
        raise PatchRefusedError(f"{error}.") from error
    _check_wiring(template["spec"], spec)
    return {"metadata": metadata, "spec": _stored(_completed(template["spec"], spec))}


def secrets_of(patch: PodPatch) -> frozenset[str]:
    """Names of the Secrets from which containers of a patch take variables."""
    fields = patch.spec.fields()
    containers = [*_list(fields, "containers"), *_list(fields, "initContainers")]
    sources = [
        source
        for one in containers
        if isinstance(one, dict)
        for source in (*_variables(one), *_references(_list(one, "envFrom"), "secretRef"))
    ]
    return frozenset(str(source["name"]) for source in sources if source.get("name"))


def _variables(container: Object) -> list[Object]:
    return _references(_references(_list(container, "env"), "valueFrom"), "secretKeyRef")


def _references(holders: list[Any], key: str) -> list[Object]:
    found = [one.get(key) for one in holders if isinstance(one, dict)]
    return [one for one in found if isinstance(one, dict)]


def _stored(value: Any) -> Any:
    """Omits what the API server drops: it would look like drift at every pass."""
    if isinstance(value, list):
        return [_stored(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    kept = {key: one for key, one in value.items() if not (one is False and key in OMITTED)}
    # An empty value of a variable is dropped too (`env.py`).
    if "name" in kept and kept.get("value") == "":
        del kept["value"]
    return {key: _stored(one) for key, one in kept.items()}


def _completed(ours: Object, spec: Object) -> Object:
    """What the operator's containers need although the patch didn't say it."""
    if spec.get("hostNetwork"):
        # Otherwise the pod asks the node's resolver, which doesn't know the coordinator's name.
        spec = {"dnsPolicy": "ClusterFirstWithHostNet", **spec}
    sources = {one["name"]: one["envFrom"] for one in ours["containers"]}
    containers = [
        _with_sources(one, sources[one["name"]]) if one["name"] in sources else one
        for one in spec["containers"]
    ]
    return {**spec, "containers": containers}


def _with_sources(container: Object, ours: list[Object]) -> Object:
    """`envFrom` has no merge key: a patch's list would replace the one with the S3 keys."""
    given = container.get("envFrom", ours)
    # Ours last: of one variable in two Secrets the last wins.
    return {**container, "envFrom": [*(one for one in given if one not in ours), *ours]}


def _check_wiring(ours: Object, merged: Object) -> None:
    """Raises `PatchRefusedError` if something that the pods are wired by was changed."""
    _check_entries("spec.volumes", ours["volumes"], _list(merged, "volumes"), "name")
    containers = {one.get("name"): one for one in _list(merged, "containers")}
    for one in ours["containers"]:
        name = one["name"]
        path = f"spec.containers[{name}]"
        if name not in containers:
            raise _refused(path, "the pods need this container: remove the directive")
        _check_container(path, one, containers[name])


def _check_container(path: str, ours: Object, merged: Object) -> None:
    for key in SAME:
        if merged.get(key) != ours.get(key):
            raise _refused(f"{path}.{key}", "it is the operator's: remove it")
    wired = [variable for variable in ours["env"] if is_our_variable(variable["name"])]
    _check_entries(f"{path}.env", wired, _list(merged, "env"), "name")
    mounts = (ours["volumeMounts"], _list(merged, "volumeMounts"))
    _check_entries(f"{path}.volumeMounts", *mounts, "mountPath")
    for amounts in ("requests", "limits"):
        if _gpus(ours, amounts) != _gpus(merged, amounts):
            field = f"{path}.resources.{amounts}[{GPU}]"
            raise _refused(field, "set gpusPerPod instead, which the program reads too")


def _check_entries(path: str, ours: list[Object], merged: list[Any], key: str) -> None:
    found = {entry.get(key): entry for entry in merged if isinstance(entry, dict)}
    for entry in ours:
        if found.get(entry[key]) != entry:
            raise _refused(f"{path}[{entry[key]}]", "it is the operator's: remove it")


def _list(holder: Object, key: str) -> list[Any]:
    found = holder.get(key)
    return found if isinstance(found, list) else []


def _gpus(container: Object, amounts: str) -> str:
    resources = container.get("resources") or {}
    return str((resources.get(amounts) or {}).get(GPU, 0))


def _refused(path: str, advice: str) -> PatchRefusedError:
    return PatchRefusedError(f"{path} can't be patched: {advice}.")
