"""Whether a live object says what we want, in spite of defaults, strangers and other spellings."""

from typing import Any

import pytest

from sea_operator.policies.drift import is_subset


@pytest.mark.parametrize(
    ("live", "wanted", "expected"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 2}, False),
        ({}, {"a": 1}, False),
        ({}, {"a": {}}, True),
        ({}, {"a": []}, True),
        ({"a": None}, {"a": {}}, False),
        ({"a": {"x": 1}}, {"a": {}}, True),
        ([1, 2], [1, 2], True),
        ([1, 2], [1], False),
        ([1, 2], [2, 1], False),
        ([{"name": "a", "v": 1}, {"name": "b"}], [{"name": "a", "v": 1}], True),
        ([{"name": "b"}, {"name": "a"}], [{"name": "a"}, {"name": "b"}], True),
        ([{"name": "a", "v": 2}], [{"name": "a", "v": 1}], False),
        ([], [{"name": "a"}], False),
        (
            [{"name": "data", "mountPath": "/a"}, {"name": "data", "mountPath": "/b"}],
            [{"name": "data", "mountPath": "/b"}],
            True,
        ),
        ([{"secretRef": {"name": "a"}}], [{"secretRef": {"name": "a"}}], True),
        ([{"secretRef": {"name": "b"}}], [{"secretRef": {"name": "a"}}], False),
        ("1Gi", "1024Mi", True),
        ("4", 4, True),
        ("1500m", 1.5, True),
        ("5", 4, False),
        ("1", True, False),
        ("http", 80, False),
        ("500m", "0.5", True),
        ("1k", "1000", True),
        ("1m", "0.0004", True),
        ("2m", "0.0004", False),
        ("9999999999999999999999999999999E", "1", False),
        ("1Gi", "1G", False),
        ("text", "txet", False),
        ("", "m", False),
        (1, True, True),
        (None, {"a": 1}, False),
        ({"a": 1}, [1], False),
    ],
)
def test_contains(live: Any, wanted: Any, expected: bool) -> None:
    assert is_subset(live, wanted) is expected
