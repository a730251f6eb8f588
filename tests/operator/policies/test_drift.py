"""Children that differ are applied, strays of our own removed, others left alone."""

import copy
from typing import Any

import pytest

from sea_api.v1alpha1.policy import Role
from sea_operator.policies.drift import due, strays, without_emptied
from sea_operator.resources.build import objects, token_digest
from sea_operator.resources.role_settings import full_size
from sea_operator.settings import Images


def wanted(make: Any, job: Any) -> Any:
    return objects(job, job.spec, full_size(job.spec), Images(), token_digest(make.token), {})


@pytest.mark.parametrize(
    ("path", "value", "is_due"),
    [
        (("spec", "replicas"), 5, True),
        (("spec", "template", "metadata", "labels", "x"), "y", False),
        (("metadata", "labels", "sea-operator.io/role"), "other", True),
        (("metadata", "annotations"), {"argo": "x"}, False),
        (("metadata", "deletionTimestamp"), "2027-01-15T08:00:00Z", False),
    ],
)
def test_drift(make: Any, path: Any, value: Any, is_due: bool) -> None:
    observed = make.observed()
    target = observed.children["StatefulSet", "j-trainer"]
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    names = [child["metadata"]["name"] for child in due(observed, wanted(make, observed.job))]
    assert names == (["j-trainer"] if is_due else [])


def test_a_drifted_and_leaving_child_leaves_first(make: Any) -> None:
    observed = make.observed()
    live = observed.children["StatefulSet", "j-trainer"]
    live["spec"]["replicas"] = 9
    live["metadata"]["deletionTimestamp"] = "2027-01-15T08:00:00Z"
    assert due(observed, wanted(make, observed.job)) == []


def test_only_our_own_strays_are_removed(make: Any) -> None:
    observed = make.observed()
    ours = observed.children["StatefulSet", "j-user"]
    theirs = copy.deepcopy(ours)
    theirs["metadata"]["ownerReferences"] = []
    children = {**observed.children, ("StatefulSet", "theirs"): theirs}
    kept = [c for c in wanted(make, observed.job) if not c["metadata"]["name"].endswith("user")]
    found = strays(make.observed(observed.job, children=children), kept)
    assert {(removal.kind.name, removal.name) for removal in found} == {
        ("StatefulSet", "j-user"),
        ("Service", "j-user"),
    }
    assert Role.USER in full_size(observed.job.spec)


@pytest.mark.parametrize(
    ("live", "wanted", "expected"),
    [
        ({"a": {"x": 1}}, {"a": {}}, {}),
        ({"a": [1]}, {"a": []}, {}),
        ({"a": {}}, {"a": {}}, {"a": {}}),
        ({}, {"a": {}}, {"a": {}}),
        ({"a": {"x": 1}}, {"a": {"x": 2}}, {"a": {"x": 2}}),
        (
            {"v": [{"name": "shm", "emptyDir": {"medium": "Memory"}}, {"name": "d"}]},
            {"v": [{"name": "d", "emptyDir": {}}, {"name": "shm", "emptyDir": {}}]},
            {"v": [{"name": "d", "emptyDir": {}}, {"name": "shm"}]},
        ),
        ({"v": [1, 2]}, {"v": [{}, 2]}, {"v": [{}, 2]}),
    ],
)
def test_an_empty_object_is_not_sent_in_place_of_one_with_fields(
    live: Any, wanted: Any, expected: Any
) -> None:
    assert without_emptied(live, wanted) == expected
