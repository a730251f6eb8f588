"""No release admits less than an earlier one, other than by a rule, which stored jobs may break.

A bound of the schema makes no such exception: a job that breaks one could not be read any more.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

GOLDEN = Path(__file__).parents[1] / "releases"
RELEASES = sorted(folder for folder in GOLDEN.iterdir() if folder.is_dir())
UPPER = ("maximum", "maxLength", "maxItems", "maxProperties")
LOWER = ("minimum", "minLength", "minItems", "minProperties")
Schema = dict[str, Any]


def spec_of(file: Path) -> Schema:
    crd = yaml.safe_load(file.read_text())
    schema: Schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return schema


def narrower(old: Schema, new: Schema, path: str = "spec") -> Iterator[str]:
    """What the new schema refuses and the old one takes, a line each."""
    yield from (f"{path}: {what}" for what in _own(old, new))
    known = old.get("properties", {})
    for name in sorted(known.keys() & new.get("properties", {}).keys()):
        yield from narrower(known[name], new["properties"][name], f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(old.get(key), dict) and isinstance(new.get(key), dict):
            yield from narrower(old[key], new[key], f"{path}[]")


def _own(old: Schema, new: Schema) -> Iterator[str]:
    """Of the value itself."""
    for key in UPPER:
        if key in new and new[key] < old.get(key, float("inf")):
            yield f"{key} {old.get(key)} -> {new[key]}"
    for key in LOWER:
        # Nothing is shorter than 0; a number may be as small as it likes.
        least = float("-inf") if key == "minimum" else 0
        if key in new and new[key] > old.get(key, least):
            yield f"{key} {old.get(key)} -> {new[key]}"
    if "enum" in new and (gone := set(old.get("enum", ["anything"])) - set(new["enum"])):
        yield f"no longer {sorted(gone)}"
    if "pattern" in new and new["pattern"] != old.get("pattern"):
        yield f"pattern {new['pattern']}"
    if old.get("type") != new.get("type"):
        yield f"type {old.get('type')} -> {new.get('type')}"
    if asked := set(new.get("required", [])) - set(old.get("required", [])):
        yield f"{sorted(asked)} must be given"


@pytest.mark.parametrize("release", RELEASES, ids=lambda folder: folder.name)
def test_no_bound_is_narrower_than_in_an_earlier_release(release: Path, root: Path) -> None:
    today = spec_of(root / "crds" / "sea-operator.io_seatrainingjobs.yaml")
    assert list(narrower(spec_of(release / "crd.yaml"), today)) == []


@pytest.mark.parametrize(
    "change",
    [
        {"maximum": 9},
        {"minimum": 1},
        {"maxLength": 3},
        {"enum": ["A"]},
        {"pattern": "^a$"},
        {"type": "string"},
        {"required": ["x"]},
    ],
)
def test_a_narrower_bound_is_found_wherever_it_is(change: Schema) -> None:
    inner: Schema = {"type": "integer", "enum": ["A", "B"], "maximum": 10, "minimum": 0}
    old = {"type": "object", "properties": {"a": {"type": "array", "items": inner}}}
    new = {"type": "object", "properties": {"a": {"type": "array", "items": {**inner, **change}}}}
    assert len(list(narrower(old, new))) == 1
    assert list(narrower(new, new)) == []
