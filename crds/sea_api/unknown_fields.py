"""Fields that the resource doesn't have, each with the field that was probably meant.

The API server drops unknown fields without a word unless its client asks for strict validation, so
two others look for them: `sea job check` in a file, the operator in what `kubectl apply` recorded.
"""

import difflib
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sea_api.crd import root_schema
from sea_api.schema import PRESERVING, Schema
from sea_api.v1alpha1.pods import ELSEWHERE

Path = tuple[str | int, ...]

META_FIELDS = frozenset(
    {
        "annotations",
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "generateName",
        "generation",
        "labels",
        "managedFields",
        "name",
        "namespace",
        "ownerReferences",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)

_HABITS = {
    "paused": "suspend",
    "resources": "requests and limits",
    "lr": "learningRate",
    "batch": "batchSize",
    "nodes": "replicas",
    "numReplicas": "replicas",
    "groupSize": "trajectoriesPerPrompt",
    "numGenerations": "trajectoriesPerPrompt",
    "maxLength": "contextLength",
    "tensorParallelSize": "tensor",
    "path": "source",
    "secret": "credentialsSecret",
    "bucket": "url",
    "priorityClass": "priorityClassName",
}
"""What other trainers and operators call a field of ours."""


@dataclass(frozen=True)
class Unknown:
    """A field that doesn't exist."""

    path: Path
    hint: str
    """What to do, as the end of a sentence."""

    @property
    def sentence(self) -> str:
        return f"there is no such field, so it has no effect: {self.hint}"


def dotted(path: Path) -> str:
    """A path as the API server writes it: `spec.stages[0].name`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def unknown_fields(manifest: Mapping[str, Any]) -> list[Unknown]:
    """All of them in a job as its user wrote it, status left out, in the order of the file."""
    written = {key: value for key, value in manifest.items() if key not in ("metadata", "status")}
    metadata = manifest.get("metadata")
    own = metadata if isinstance(metadata, dict) else {}
    strange = [name for name in own if name not in META_FIELDS]
    return [
        *(Unknown(("metadata", name), _nearest(name, META_FIELDS)) for name in strange),
        *_below(written, _schema(), ()),
    ]


def schema_at(path: Path) -> Schema:
    """Schema of a field; empty if there is no such field."""
    schema: Schema = _schema()
    for step in path:
        if isinstance(step, int):
            schema = schema.get("items", {})
        else:
            extra = schema.get("additionalProperties", {})
            schema = schema.get("properties", {}).get(step, extra)
    return schema


@functools.cache
def _schema() -> Schema:
    return root_schema()


def _below(value: Any, schema: Schema, path: Path) -> Iterator[Unknown]:
    if isinstance(value, dict) and "properties" in schema:
        for name, inner in value.items():
            if name in schema["properties"]:
                yield from _below(inner, schema["properties"][name], (*path, name))
            # A patch of a pod holds fields of Kubernetes, which only the API server knows.
            elif PRESERVING not in schema:
                yield Unknown((*path, name), _hint(name, value, schema))
    elif isinstance(value, list) and "items" in schema:
        for i, item in enumerate(value):
            yield from _below(item, schema["items"], (*path, i))


def _hint(name: str, siblings: Mapping[str, Any], schema: Schema) -> str:
    """Another spelling here, a place below, a habit, a similar name, or what there is."""
    # The surest guess first: a similar name is only the last resort.
    fields = schema["properties"]
    if found := _respelled(name, fields):
        return f"write {found}"
    if name in ELSEWHERE and ("patch" in fields or set(fields) == {"name", "value"}):
        return f"it goes to {ELSEWHERE[name]}"
    if place := _place_below(name, siblings, schema):
        return f"it belongs into {place}"
    if name in ("queueName", "queue") and "topology" in fields:
        return "docs/pods.md says how a job waits in a queue"
    if name in _HABITS and _HABITS[name].split()[0] in fields:
        return f"write {_HABITS[name]}"
    return _nearest(name, fields)


def _respelled(name: str, fields: Mapping[str, Any]) -> str | None:
    wanted = _letters(name)
    return next((field for field in fields if _letters(field) == wanted), None)


def _letters(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def _place_below(name: str, siblings: Mapping[str, Any], schema: Schema) -> str | None:
    """The block that has such a field; of several, one that the user has set."""
    blocks = [
        block
        for block, inner in schema["properties"].items()
        if _respelled(name, inner.get("properties", {}))
    ]
    # A stage's block: `rl` before the other types' blocks, if `rl` is there.
    return next((block for block in blocks if block in siblings), next(iter(blocks), None))


def _nearest(name: str, fields: Any) -> str:
    lower = {field.lower(): field for field in sorted(fields)}
    close = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.6)
    if close:
        return f"did you mean {lower[close[0]]}?"
    return f"remove it, or use one of {', '.join(sorted(fields))}"
