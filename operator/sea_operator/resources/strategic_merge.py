"""Strategic merge of a patch into a PodTemplateSpec, as `kubectl patch --type=strategic` does it.

Pure. Written for the lists of a PodTemplateSpec, whose merge keys `MERGE_KEYS` holds: a test
compares them with the API server's own description. The kubernetes library has no such merge.
"""

from collections.abc import Iterator, Mapping
from typing import Any

Object = dict[str, Any]
Path = tuple[str, ...]

_CONTAINER: Mapping[str, str] = {
    "env": "name",
    "ports": "containerPort",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
}
_CONTAINERS = ("containers", "initContainers", "ephemeralContainers")
_CLAIM = ("spec", "volumes", "ephemeral", "volumeClaimTemplate")
MERGE_KEYS: Mapping[Path, str] = {
    ("metadata", "ownerReferences"): "uid",
    (*_CLAIM, "metadata", "ownerReferences"): "uid",
    **{("spec", name): "name" for name in _CONTAINERS},
    **{
        ("spec", container, name): key
        for container in _CONTAINERS
        for name, key in _CONTAINER.items()
    },
    ("spec", "volumes"): "name",
    ("spec", "imagePullSecrets"): "name",
    ("spec", "resourceClaims"): "name",
    ("spec", "schedulingGates"): "name",
    ("spec", "hostAliases"): "ip",
    ("spec", "topologySpreadConstraints"): "topologyKey",
}
"""Lists that merge entry by entry, and the field that identifies an entry; others are replaced."""

DIRECTIVE = "$patch"
"""Key of an instruction to the merge; the names of fields begin with a letter."""


class PatchError(ValueError):
    """A patch that can't be merged; the message names the field below `patch`."""


def merge(original: Object, patch: Object, path: Path = ()) -> Object:
    """A new object: `original` with `patch` merged in. Raises `PatchError`."""
    directive = patch.get(DIRECTIVE)
    _check_directives(patch, path)
    if directive == "replace":
        return {key: _new(value, (*path, key)) for key, value in _fields(patch)}
    merged = dict(original)
    for key, value in _fields(patch):
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value, (*path, key))
    return {key: value for key, value in merged.items() if value is not None}


def _merged(old: Any, new: Any, path: Path) -> Any:
    if isinstance(new, dict) and new.get(DIRECTIVE) == "delete":
        return None
    if old is not None and _kind(old) != _kind(new):
        raise PatchError(f"{_text(path)} must be a {_kind(old)}, but is a {_kind(new)}")
    if isinstance(new, dict):
        return merge(old or {}, new, path)
    if isinstance(new, list):
        if key := MERGE_KEYS.get(path):
            return _merge_lists(old or [], new, path, key)
        return [_new(entry, path) for entry in new]
    return new


def _merge_lists(old: list[Any], new: list[Any], path: Path, key: str) -> list[Any]:
    """Entries of `old` in their order, then those that are new; as the API server does it."""
    replaces, patches = False, []
    for index, entry in enumerate(new):
        if entry == {DIRECTIVE: "replace"}:
            replaces = True
            continue
        if not isinstance(entry, dict) or key not in entry:
            raise PatchError(f"{_text(path)}[{index}] has no {key}, by which entries are merged")
        patches.append(entry)
    merged = {} if replaces else {entry.get(key): entry for entry in old}
    for entry in patches:
        if entry.get(DIRECTIVE) == "delete":
            merged.pop(entry[key], None)
        else:
            merged[entry[key]] = merge(merged.get(entry[key], {}), entry, path)
    return list(merged.values())


def _new(value: Any, path: Path) -> Any:
    """A value that replaces: nothing to merge with, but nulls and directives mean the same."""
    return merge({}, value, path) if isinstance(value, dict) else value


def _fields(patch: Object) -> Iterator[tuple[str, Any]]:
    return ((key, value) for key, value in patch.items() if key != DIRECTIVE)


def _check_directives(patch: Object, path: Path) -> None:
    for key, value in patch.items():
        if key == DIRECTIVE and value not in ("merge", "replace", "delete"):
            raise PatchError(f"{_text((*path, key))} is {value!r}: say merge, replace or delete")
        if key.startswith("$") and key != DIRECTIVE:
            raise PatchError(
                f"{_text((*path, key))} isn't supported: use $patch: delete or $patch: replace"
            )


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return "map"
    return "list" if isinstance(value, list) else "plain value"


def _text(path: Path) -> str:
    return ".".join(path)
