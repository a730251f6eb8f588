"""A patch merges as the API server merges it: each list by its own key, directives, nulls."""

from typing import Any

import pytest

from sea_operator.resources.strategic_merge import MERGE_KEYS, PatchError, merge


def put(path: tuple[str, ...], value: Any) -> Any:
    """`value` at a path of maps; a list of entries on the way holds one entry, named `c`."""
    head, *rest = path
    if not rest:
        return {head: value}
    below = put(tuple(rest), value)
    is_list = head.endswith("ontainers") or head == "volumes"
    return {head: [{"name": "c", **below}] if is_list else below}


def at(found: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        found = found[0] if isinstance(found, list) else found
        found = found[step]
    return found


@pytest.mark.parametrize("path", sorted(MERGE_KEYS), ids=".".join)
def test_a_list_with_a_key_merges_entry_by_entry(path: tuple[str, ...]) -> None:
    key = MERGE_KEYS[path]
    old = put(path, [{key: 1, "a": "old", "b": "kept"}, {key: 2, "a": "old"}])
    new = put(path, [{key: 3, "a": "added"}, {key: 1, "a": "new"}])
    assert at(merge(old, new), path) == [
        {key: 1, "a": "new", "b": "kept"},
        {key: 2, "a": "old"},
        {key: 3, "a": "added"},
    ]
    gone = put(path, [{key: 1, "$patch": "delete"}])
    assert at(merge(old, gone), path) == [{key: 2, "a": "old"}]
    alone = put(path, [{"$patch": "replace"}, {key: 3, "a": "added"}])
    assert at(merge(old, alone), path) == [{key: 3, "a": "added"}]


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": 1, "b": 2}, {"a": None}, {"b": 2}),
        ({"a": {"x": 1}}, {"a": {"y": 2}}, {"a": {"x": 1, "y": 2}}),
        ({"a": {"x": 1}}, {"a": {"$patch": "delete"}}, {}),
        ({"a": {"x": 1}}, {"a": {"$patch": "replace", "y": 2}}, {"a": {"y": 2}}),
        ({"tolerations": [{"key": "a"}]}, {"tolerations": [{"key": "b"}]}, None),
        ({}, {"a": {"b": None, "c": {"d": 1}}}, {"a": {"c": {"d": 1}}}),
        ({"a": ["x"]}, {"a": ["y", "z"]}, {"a": ["y", "z"]}),
    ],
)
def test_maps_merge_and_other_lists_are_replaced(old: Any, new: Any, found: Any) -> None:
    assert merge(old, new) == (new if found is None else found)


def test_nothing_of_the_original_is_changed() -> None:
    old: dict[str, Any] = {"containers": [{"name": "c", "env": [{"name": "a", "value": "1"}]}]}
    merge(old, {"containers": [{"name": "c", "env": [{"name": "a", "value": "2"}]}]}, ("spec",))
    assert old == {"containers": [{"name": "c", "env": [{"name": "a", "value": "1"}]}]}


@pytest.mark.parametrize(
    ("patch", "says"),
    [
        ({"containers": {"name": "c"}}, "spec.containers must be a list, but is a map"),
        ({"containers": "c"}, "spec.containers must be a list, but is a plain value"),
        ({"containers": [{"image": "x"}]}, "spec.containers[0] has no name, by which"),
        ({"containers": ["c"]}, "spec.containers[0] has no name"),
        (
            {"containers": [{"name": "c", "env": [{"name": "a"}, {"value": "b"}]}]},
            "spec.containers.env[1] has no name",
        ),
        ({"$patch": "remove"}, "spec.$patch is 'remove': say merge, replace or delete"),
        ({"$retainKeys": ["a"]}, "spec.$retainKeys isn't supported: use $patch: delete"),
        (
            {"$setElementOrder/containers": []},
            "spec.$setElementOrder/containers isn't supported",
        ),
    ],
)
def test_what_cannot_be_merged_is_named(patch: Any, says: str) -> None:
    with pytest.raises(PatchError, match="spec") as caught:
        merge({"containers": [{"name": "c", "env": [{"name": "a"}]}]}, patch, ("spec",))
    assert says in str(caught.value)
