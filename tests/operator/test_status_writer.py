"""What is written of a status: the difference, with room for fields of other releases."""

import copy
from typing import Any

import pytest

from sea_api.v1alpha1.elastic_status import ElasticRole, ElasticStatus
from sea_api.v1alpha1.status import Failure, RollbackRequest, SpecEdit, Status, WeightsStatus
from sea_operator import parsing
from sea_operator.pods import MAX_LAST_WORDS, Termination
from sea_operator.status_writer import changes, without_credentials
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


def said(words: str, make: Any) -> Status:
    """A status all of whose texts are these words, cut to their bounds."""
    time = "2027-01-15T08:00:00Z"
    return make.status(  # type: ignore[no-any-return]
        make.condition("Stalled", "True", message=words[:4096]),
        last_failure=Failure(role="Trainer", cause="Hang", message=words[:4096], time=time),
        last_edit=SpecEdit(generation=2, message=words[:1024]),
        rollback=RollbackRequest(
            stage="rl", step=4, generation=2, state="Refused", message=words[:1024]
        ),
        elastic=ElasticStatus(
            rollout=ElasticRole(
                state="Full", size=2, asked=2, began_with=2, since=time, message=words[:1024]
            )
        ),
        weights=WeightsStatus(
            published=1, adopted_min=1, adopted_max=1, engines=1, transport=words[:512]
        ),
    )


def test_hiding_credentials_makes_no_text_longer_than_the_crd_allows(make: Any) -> None:
    """The API server refused the whole status."""
    shown = without_credentials(said("password=a " * 400, make))
    stored = shown.model_dump(by_alias=True, exclude_none=True, mode="json")
    assert "=a" not in str(stored)
    assert Status.model_validate(stored) == shown


def test_a_container_s_last_words_hold_no_rest_of_a_secret() -> None:
    """They are cut at their beginning, where the name is that gives a secret away."""
    line = f"AWS_SECRET_ACCESS_KEY={'s3cr3t' * 100}"
    assert len(line) > MAX_LAST_WORDS
    assert "s3cr3t" not in Termination("trainer", 1, "Error", line).words
