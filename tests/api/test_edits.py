"""The classes of fields: declared on the models, enforced by rules, and what an edit changed."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from sea_api.crd import root_schema
from sea_api.v1alpha1 import stage_rules
from sea_api.v1alpha1.base import Change, changes, refused_changes
from sea_api.v1alpha1.edits import SENTENCES, Effect
from sea_api.v1alpha1.job import SEATrainingJob
from sea_testing.fixture_types import BuildJob, Manifest
from sea_testing.merge_patch import merged

Schema = dict[str, Any]


def _fields(schema: Schema, path: str) -> Iterator[tuple[str, Effect]]:
    for name, field in schema.get("properties", {}).items():
        text = field.get("description", "")
        found = [effect for effect, sentence in SENTENCES.items() if text.endswith(sentence)]
        yield from ((f"{path}{name}", effect) for effect in found)
        yield from _fields(field, f"{path}{name}.")
        yield from _fields(field.get("items", {}), f"{path}{name}[].")


def _of(effect: Effect) -> set[str]:
    spec = root_schema()["properties"]["spec"]
    return {path for path, found in _fields(spec, "") if found is effect}


START = {"startFrom": {"run": "s3://bucket/jobs/first", "stage": "sft", "step": 20}}


def _start(**changed: Any) -> Manifest:
    return {"startFrom": {**START["startFrom"], **changed}}


VOLUME = {"coordinator": {"storageClassName": "fast"}}
OTHER: dict[str, tuple[Manifest, Manifest]] = {
    "model.name": ({}, {"model": {"name": "other"}}),
    "model.source": ({}, {"model": {"source": "hf://o/n"}}),
    "model.precision": ({}, {"model": {"precision": "FP32"}}),
    "model.contextLength": ({}, {"model": {"contextLength": 65536}}),
    "model.toolFormat": ({}, {"model": {"toolFormat": "Hermes"}}),
    "model.thinkingHistory": ({}, {"model": {"thinkingHistory": "Strip"}}),
    "managedBy": ({}, {"managedBy": "kueue.x-k8s.io/multikueue"}),
    "storage.url": ({}, {"storage": {"url": "s3://bucket/other"}}),
    "stages[].name": ({}, {"stages": [{"name": "other", "type": "SFT", "sft": {}}]}),
    "stages[].type": ({}, {"stages": [{"name": "sft", "type": "RL", "rl": {}}]}),
    "userModel.source": (
        {"userModel": {"engine": "VLLM"}},
        {"userModel": {"engine": "VLLM", "source": "s3://bucket/user"}},
    ),
    "startFrom.run": (START, _start(run="s3://bucket/jobs/second")),
    "startFrom.stage": (
        {**START, "stages": [{"name": "sft", "type": "SFT", "sft": {}}]},
        {**_start(stage="other"), "stages": [{"name": "other", "type": "SFT", "sft": {}}]},
    ),
    "startFrom.step": (START, _start(step=40)),
    "coordinator.storageClassName": ({}, VOLUME),
    "coordinator.volumeSize": (VOLUME, {"coordinator": {**VOLUME["coordinator"], "volumeSize": 1}}),
}
"""Each immutable field: the spec before and after an edit, as patches of the base job's."""


def test_every_immutable_field_is_tried() -> None:
    assert _of(Effect.IMMUTABLE) == OTHER.keys()


@pytest.mark.parametrize("path", OTHER)
def test_an_immutable_field_is_refused_with_what_to_do(path: str, job: BuildJob) -> None:
    before, after = (SEATrainingJob.model_validate(job({"spec": patch})) for patch in OTHER[path])
    # A stage that startFrom names keeps its name, too.
    message = refused_changes(before, after)[-1]
    assert ":" in message
    assert "create another job" in message


def test_what_a_stage_is_made_from_is_what_the_rule_names() -> None:
    """The rule lists by hand what the models declare."""
    found = {path.removeprefix("stages[].") for path in _of(Effect.NEXT_STAGE)}
    assert found == stage_rules.BEGUN_FIELDS.keys()


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ({"suspend": True}, [Change("suspend", Effect.NEXT_STEP)]),
        (
            {"stages": [{"name": "sft", "type": "SFT", "sft": {"epochs": 2}}, "rl"]},
            [Change("stages[sft].sft.epochs", Effect.NEXT_STEP, "sft")],
        ),
        (
            {"stages": ["sft", "rl", {"name": "look", "type": "Evaluation", "evaluation": {}}]},
            [Change("stages[look]", Effect.NEXT_STAGE, "look")],
        ),
        (
            {"verifier": {"judge": {"url": "http://h", "model": "m"}}},
            [Change("verifier.judge", Effect.NEXT_STEP)],
        ),
        (
            {"trainer": {"replicas": 2, "template": {"env": [{"name": "A", "value": "b"}]}}},
            [
                Change("trainer.replicas", Effect.NEW_ATTEMPT),
                Change("trainer.template.env[A]", Effect.NEW_ATTEMPT, "A"),
            ],
        ),
        ({"data": {"rl": ["s3://b/x"]}}, [Change("data.rl", Effect.NEXT_STEP)]),
        (
            {"trainer": {"template": {"patch": {"spec": {"serviceAccountName": "x"}}}}},
            [Change("trainer.template.patch.spec", Effect.NEW_ATTEMPT)],
        ),
    ],
)
def test_changes_name_the_field_and_its_class(
    patch: Manifest, expected: list[Change], job: BuildJob
) -> None:
    old = job()
    new = merged(copy.deepcopy(old), {"spec": _with_stages(patch, old)})
    before, after = (SEATrainingJob.model_validate(one).spec for one in (old, new))
    assert list(changes(before, after)) == expected


def _with_stages(patch: Manifest, old: Manifest) -> Manifest:
    """Stages that the patch gives by name alone stay as they were."""
    known = {stage["name"]: stage for stage in old["spec"]["stages"]}
    stages = [known[one] if isinstance(one, str) else one for one in patch.get("stages", [])]
    return {**patch, "stages": stages} if stages else patch
