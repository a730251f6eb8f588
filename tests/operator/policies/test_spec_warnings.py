"""Fields that the API server dropped, as the annotation of `kubectl apply` shows them."""

import dataclasses
import json
from typing import Any

import pytest

from sea_operator import parsing
from sea_operator.spec_warnings import ANNOTATION, MAX_NAMED, dropped, spec_warning

APPLIED = {
    "apiVersion": "sea-operator.io/v1alpha1",
    "kind": "SEATrainingJob",
    "metadata": {"name": "j", "namespace": "n", "annotations": {}},
}


def _dropping(job: Any, *sentences: str) -> Any:
    return dataclasses.replace(job, dropped=sentences)


def applied(make: Any, patch: dict[str, Any]) -> str:
    return json.dumps({**APPLIED, "spec": make.raw_spec(patch)})


@pytest.mark.parametrize(
    ("patch", "says"),
    [
        ({}, []),
        ({"trainer": {"replica": 2}}, ["spec.trainer.replica: there is no such field"]),
        ({"user_model": {}}, ["spec.user_model: there is no such field", "write userModel"]),
        ({"paused": True}, ["spec.paused:", "write suspend"]),
        ({"storage": {"bucket": "b"}}, ["spec.storage.bucket:", "write url"]),
        (
            {"stages": [{"name": "a", "type": "SFT", "sft": {"lr": 1}}]},
            ["spec.stages[0].sft.lr:", "write learningRate"],
        ),
    ],
)
def test_a_dropped_field_is_named_with_the_one_that_was_meant(
    make: Any, patch: dict[str, Any], says: list[str]
) -> None:
    found = " ".join(dropped(applied(make, patch)))
    assert bool(found) is bool(says)
    assert all(text in found for text in says)


def test_an_empty_field_takes_its_default_and_is_named(make: Any) -> None:
    manifest = {**APPLIED, "spec": {**make.raw_spec(), "rollout": None}}
    assert dropped(json.dumps(manifest)) == (
        "spec.rollout: it is empty, so its default applies: give it a value",
    )


@pytest.mark.parametrize("text", [None, "", "null", "{", "[]", "1", '"a"', '{"spec": []}', "{}"])
def test_whatever_the_annotation_holds_no_pass_fails(text: str | None) -> None:
    assert dropped(text) == ()


def test_what_is_probably_not_meant(make: Any) -> None:
    spec = make.spec(stages=[{"name": "rl", "type": "RL", "rl": {"learningRate": 1}}])
    found = spec_warning(make.job(spec=spec))
    assert found is not None
    assert found.reason == "ProbablyNotMeant"
    assert found.message == (
        "spec.stages[0].rl.learningRate: 1 destroys most models within a few steps: 1e-5 is usual."
    )


def test_dropped_fields_come_first_and_give_the_reason(make: Any) -> None:
    spec = make.spec(stages=[{"name": "rl", "type": "RL", "rl": {"learningRate": 1}}])
    found = spec_warning(_dropping(make.job(spec=spec), "spec.x: there is no such field"))
    assert found is not None
    assert found.reason == "FieldsDropped"
    assert found.message.startswith("spec.x: there is no such field. spec.stages[0]")


def test_a_good_job_gets_none(make: Any) -> None:
    assert spec_warning(make.job()) is None
    assert spec_warning(make.job(invalid="It can't be read.")) is None


def test_many_fields_end_in_a_number(make: Any) -> None:
    found = spec_warning(_dropping(make.job(), *(f"spec.x{i}: none" for i in range(MAX_NAMED + 3))))
    assert found is not None
    assert found.message.endswith(" And 3 more; `sea job check` lists all.")


def test_a_parsed_job_knows_what_was_dropped_until_the_annotation_changes(make: Any) -> None:
    live = {
        "metadata": {
            "name": "j",
            "namespace": "n",
            "uid": "u",
            "generation": 1,
            "resourceVersion": "1",
            "annotations": {ANNOTATION: applied(make, {"paused": True})},
        },
        "spec": make.raw_spec(),
    }
    first = make.parsed(live)
    assert [sentence.partition(":")[0] for sentence in first.dropped] == ["spec.paused"]
    live["metadata"]["annotations"][ANNOTATION] = applied(make, {})
    assert parsing.job(live, first).dropped == ()
    del live["metadata"]["annotations"]
    assert parsing.job(live, first).dropped == ()
