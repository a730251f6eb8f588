"""Random jobs before all judges: whatever one accepts, the others accept too.

Each example takes the base job, changes up to three fields to values at, around and far from the
edges of their schema, may add a field that doesn't exist, and asks pydantic, `sea job check` and
the API server.
"""

import contextlib
import copy
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sea_api.crd import root_schema
from sea_api.findings import problems
from sea_testing.fixture_types import BuildJob, Judge

Schema = dict[str, Any]
Path = tuple[str | int, ...]

pytestmark = pytest.mark.cluster

ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, "", "x", "8", "-", "É", "a\n", 0, 1, -1, 1.5, True, [], {}, [1], "1e3"]
)


def _values(schema: Schema) -> st.SearchStrategy[Any]:
    """Values of the field's own kind, within and just outside of its bounds."""
    if "enum" in schema:
        return st.sampled_from([*schema["enum"], "Other", str(schema["enum"][0]).lower()])
    kind = schema.get("type")
    if kind in ("integer", "number"):
        low, high = schema["minimum"], schema["maximum"]
        edges = [low - 1, low, low + 1, 2, 3, 8, high - 1, high, high + 1]
        return st.sampled_from(edges + ([0.5, math.pi] if kind == "number" else []))
    if kind == "boolean":
        return st.booleans()
    if kind == "array":
        return st.lists(_values(schema["items"]), max_size=3)
    if kind == "object" and "additionalProperties" in schema:
        keys = st.sampled_from(["a", "", "A/b.c", "x" * 316, "x" * 317])
        return st.dictionaries(keys, _values(schema["additionalProperties"]), max_size=3)
    if kind == "object":
        return _objects(schema)
    return _texts(schema)


def _texts(schema: Schema) -> st.SearchStrategy[Any]:
    longest = schema.get("maxLength", 32)
    usual = [
        "s3://bucket/a",
        "hf://o/n",
        "builtin:tiny",
        "http://h",
        "https://h:1/p",
        "shop",
        "a-b:c_d",
        "a-b",
    ]
    amounts = ["8", "500m", "64Gi", "1.5", "-1", "1e3", "0", 8, -1]
    edges = ["a" * longest, "a" * (longest + 1), "s3://" + "a" * longest, "a/b.c", "A", "a_b", "-a"]
    return st.sampled_from([*usual, *edges, *(amounts if "anyOf" in schema else amounts[:-2])])


def _objects(schema: Schema) -> st.SearchStrategy[Any]:
    required = set(schema.get("required", []))
    fields = {name: _values(field) for name, field in schema["properties"].items()}
    return st.fixed_dictionaries(
        {name: fields[name] for name in required},
        optional={name: value for name, value in fields.items() if name not in required},
    )


def _paths(schema: Schema, path: Path) -> dict[Path, Schema]:
    found: dict[Path, Schema] = {path: schema}
    for name, field in schema.get("properties", {}).items():
        found |= _paths(field, (*path, name))
    return found


SPEC = root_schema()["properties"]["spec"]
STAGE = SPEC["properties"]["stages"]["items"]
STRANGE = ["replica", "learning_rate", "Steps", "x", "spec"]
"""Fields that no object has."""
PATHS = _paths(SPEC, ("spec",)) | _paths(STAGE, ("spec", "stages", 1))


@st.composite
def _changes(draw: st.DrawFn) -> list[tuple[Path, Any]]:
    paths = draw(st.lists(st.sampled_from(sorted(PATHS, key=str)), min_size=1, max_size=3))
    values = [(path, draw(st.one_of(_values(PATHS[path]), ODD))) for path in paths]
    strange = draw(st.lists(st.sampled_from(STRANGE), max_size=1))
    objects = sorted((path for path, schema in PATHS.items() if "properties" in schema), key=str)
    added = [((*draw(st.sampled_from(objects)), name), 1) for name in strange]
    return [(path, value) for path, value in [*values, *added] if len(path) > 1]


def _respelled(changes: list[tuple[Path, Any]]) -> bool:
    return any("_" in str(path[-1]) for path, _ in changes)


def _set(job: Any, path: Path, value: Any) -> None:
    """Objects on the way are made; a change below something that is no object is dropped."""
    for step in path[:-1]:
        if isinstance(step, str) and isinstance(job, dict) and job.get(step) is None:
            job[step] = {}
        try:
            job = job[step]
        except (KeyError, IndexError, TypeError):
            return
    container: Any = job if isinstance(job, dict | list) else {}
    with contextlib.suppress(TypeError, IndexError):
        container[path[-1]] = value


@settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(changes=_changes())
def test_both_judges_agree(
    changes: list[tuple[Path, Any]], job: BuildJob, models: Judge, server: Judge
) -> None:
    manifest = copy.deepcopy(job())
    for path, value in changes:
        _set(manifest, path, value)
    by_models, by_server = models(manifest), server(manifest)
    by_check = [str(found) for found in problems(manifest)]
    assert (by_check == []) == (by_server is None), (
        f"{changes}\nsea job check: {by_check}\nserver: {by_server}"
    )
    if _respelled(changes):
        return  # pydantic reads snake_case too; `sea job check` doesn't
    assert (by_models is None) == (by_server is None), (
        f"{changes}\nmodels: {by_models}\nserver: {by_server}"
    )
