"""What another release wrote is read without the fields that this one doesn't know."""

import copy
import json
from typing import Any

import pytest
from pydantic import ValidationError

from sea_api import lenient
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.status import Status
from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_testing.fixture_types import BuildJob

RESIZES = {"rules": [{"role": "Trainer", "action": "Resize"}]}


def test_unknown_fields_are_named_and_left_out_at_any_depth() -> None:
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "Running",
        "message": "All is well.",
        "lastTransitionTime": "2027-01-15T08:00:00Z",
        "observedGeneration": 1,
    }
    stored = {
        "stage": "rl",
        "novel": {"inner": {}},
        "restarts": {"counted": 2, "forgiven": 1},
        "conditions": [condition, {**condition, "type": "New", "since": 4}],
    }
    before = copy.deepcopy(stored)
    found = lenient.read(Status, stored)
    assert stored == before
    assert {lenient.text(path) for path in found.ignored} == {
        "novel",
        "restarts.forgiven",
        "conditions[1].since",
    }
    assert (found.value.stage, [one.type for one in found.value.conditions]) == (
        "rl",
        ["Ready", "New"],
    )


def test_what_is_known_is_read_as_it_is() -> None:
    assert lenient.read(Status, {"stage": "rl"}) == lenient.Read(Status(stage="rl"))


def test_what_another_release_admitted_is_read_and_its_broken_rules_are_named(
    job: BuildJob,
) -> None:
    stored = job({"spec": {"failurePolicy": RESIZES}})["spec"]
    found = lenient.read_admitted(Spec, stored)
    assert found.value.failure_policy.rules[0].action == "Resize"
    assert found.broken is not None
    assert "add trainer.elastic" in str(found.broken)
    assert lenient.read_admitted(Spec, job()["spec"]).broken is None
    with pytest.raises(ValidationError):
        Spec.model_validate(stored)
    with pytest.raises(ValidationError):
        lenient.read_admitted(Spec, {**stored, "suspend": "yes"})


@pytest.mark.parametrize("stored", [{"step": -1}, {"step": -1, "novel": 1}, {"stage": ["?"]}])
def test_values_that_are_wrong_are_errors(stored: Any) -> None:
    with pytest.raises(ValidationError):
        lenient.read(Status, stored)


def test_a_coordinator_takes_the_instructions_of_a_newer_operator(
    job: BuildJob, caplog: pytest.LogCaptureFixture
) -> None:
    """Whose models have more fields, and write out their defaults."""
    lenient._warn.cache_clear()
    spec = Spec.model_validate(job()["spec"])
    sent = CoordinatorSpec(
        digest="d",
        job="j",
        uid="u",
        spec_generation=1,
        spec=spec,
        stage_index=0,
        attempt=2,
        run_url="s3://b/j",
    )
    body = json.loads(sent.model_dump_json(by_alias=True))
    body["novel"] = 1
    body["spec"]["rollout"]["novel"] = {"deep": 2}
    for _ in range(2):
        assert CoordinatorSpec.model_validate_json(json.dumps(body)) == sent
    assert [record.getMessage().rpartition(" ")[2] for record in caplog.records] == [
        "spec.rollout.novel",
        "novel",
    ]
    with pytest.raises(ValidationError):
        CoordinatorSpec.model_validate_json(json.dumps({**body, "attempt": "none"}))
