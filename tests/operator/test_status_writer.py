"""What is written of a status: the difference, with room for fields of other releases."""

import copy
from typing import Any

import pytest

from sea_operator import parsing
from sea_operator.status_writer import changes
from sea_testing.merge_patch import merged


@pytest.mark.parametrize(
    ("stored", "wanted", "patch"),
    [
        ({}, {"stage": "rl"}, {"stage": "rl"}),
        ({"stage": "rl"}, {"stage": "rl"}, {}),
        ({"stage": "rl", "step": 3}, {"stage": "rl"}, {"step": None}),
        (
            {"roles": {"trainer": {"desired": 2, "ready": 0}}},
            {"roles": {"trainer": {"desired": 2, "ready": 1}}},
            {"roles": {"trainer": {"ready": 1}}},
        ),
        ({"roles": {"trainer": {"ready": 1}}}, {"roles": {}}, {"roles": {"trainer": None}}),
        ({"roles": {}}, {"roles": {}}, {}),
        ({"restarts": {"recent": [1]}}, {"restarts": {"recent": [1, 2]}}, None),
        ({"weights": "none"}, {"weights": {"published": 1}}, {"weights": {"published": 1}}),
    ],
)
def test_only_what_changed_is_sent(stored: Any, wanted: Any, patch: Any) -> None:
    found = changes(stored, wanted)
    assert patch is None or found == patch
    assert merged(stored, found) == wanted


def test_no_object_with_fields_is_replaced_by_an_empty_one() -> None:
    """The status of an invalid job has no roles; the server refuses a null in their place."""
    assert changes({"roles": {"user": {"ready": 1}}}, {"roles": {}})["roles"] == {"user": None}


def test_fields_of_another_release_stay(make: Any) -> None:
    """A newer operator that comes back finds what it counted."""
    stored = {"stage": "sft", "restarts": {"counted": 1, "forgiven": 2}, "novel": {"a": 1}}
    meta = {"name": "j", "namespace": "n", "uid": "u", "generation": 3, "resourceVersion": "9"}
    job = parsing.job({"metadata": meta, "spec": make.raw_spec(), "status": stored})
    patch = changes(stored, {"stage": "rl", "restarts": {"counted": 4}}, job.foreign)
    assert patch == {"stage": "rl", "restarts": {"counted": 4}}
    assert merged(copy.deepcopy(stored), patch)["novel"] == {"a": 1}
