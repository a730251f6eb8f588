"""Every field of a job answers a wrong value with a sentence of ours, and never with a pattern."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from sea_api.crd import root_schema
from sea_api.findings import nulls, problems
from sea_api.unknown_fields import unknown_fields
from sea_api.v1alpha1.advice import advice
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.pods import ELSEWHERE
from sea_api.v1alpha1.rules import CEL_KEY
from sea_testing.fixture_types import BuildJob

Schema = dict[str, Any]
WRONG: list[Any] = [
    "",
    "x y",
    "8",
    "é\n",
    -1,
    10**12,
    0.5,
    True,
    [],
    {},
    {"a": 1},
    ["x y"],
    [1],
    None,
]
STAGES = [
    {"name": "make", "type": "Synthesis", "synthesis": {}},
    {"name": "user", "type": "UserSFT", "userSFT": {}},
    {"name": "sft", "type": "SFT", "sft": {}},
    {"name": "rl", "type": "RL", "rl": {}},
    {"name": "eval", "type": "Evaluation", "evaluation": {}},
]
LIBRARY = ("Input should", "should have", "should be", "should match", "Extra inputs", "Field req")
"""How pydantic begins its own messages."""


def _fields(schema: Schema, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Schema]]:
    yield path, schema
    for name, field in schema.get("properties", {}).items():
        yield from _fields(field, (*path, name))


SPEC = root_schema()["properties"]["spec"]
STAGE = SPEC["properties"]["stages"]["items"]


def _rules(schema: Schema, path: str) -> Iterator[tuple[str, str]]:
    for rule in schema.get(CEL_KEY, []):
        yield path, rule["message"]
    for name, inner in schema.get("properties", {}).items():
        yield from _rules(inner, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from _rules(schema[key], f"{path}[]")


def _set(job: Any, path: tuple[str, ...], value: Any) -> Any:
    for step in path[:-1]:
        job = job.setdefault(step, {})
    job[path[-1]] = value


@pytest.mark.parametrize("path", [p for p, _ in _fields(SPEC, ()) if p], ids=".".join)
def test_a_wrong_value_gets_a_sentence_of_ours(path: tuple[str, ...], job: BuildJob) -> None:
    for value in WRONG:
        manifest = copy.deepcopy(job())
        _set(manifest["spec"], path, value)
        for found in problems(manifest):
            assert not any(text in found.sentence for text in LIBRARY), f"{value!r}: {found}"


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage["type"])
def test_so_does_every_field_of_a_stage(stage: dict[str, Any], job: BuildJob) -> None:
    paths = [p for p, _ in _fields(STAGE, ()) if p and (p[0] in stage or len(p) == 1)]
    assert len(paths) > 8
    for path in paths:
        for value in WRONG:
            changed = copy.deepcopy(stage)
            _set(changed, path, value)
            for found in problems(job({"spec": {"stages": [changed]}})):
                assert not any(text in found.sentence for text in LIBRARY), f"{path}: {found}"


def test_no_field_of_the_resource_answers_with_a_bare_expression() -> None:
    """The API server shows a `pattern` as it is; a rule has a message."""
    assert "'pattern'" not in str(root_schema()["properties"]["spec"])


@pytest.mark.parametrize(("path", "message"), sorted(set(_rules(SPEC, "spec"))))
def test_every_rule_says_what_to_do(path: str, message: str) -> None:
    """`what is wrong: what to do`."""
    wrong, colon, todo = message.partition(": ")
    assert colon or ";" in message or "must" in message, (path, message)
    assert len(wrong.split()) >= 3
    assert not todo or len(todo.split()) > 1
    assert not message.endswith("."), "the page of fields adds it"


def _stage(kind: str, block: str, inner: dict[str, Any], **beside: Any) -> dict[str, Any]:
    return {"spec": {"stages": [{"name": "a", "type": kind, block: inner, **beside}]}}


HINTS = [
    ({"spec": {"trainer": {"replica": 2}}}, "spec.trainer.replica", "did you mean replicas?"),
    ({"spec": {"usermodel": {}}}, "spec.usermodel", "write userModel"),
    ({"spec": {"user_model": {}}}, "spec.user_model", "write userModel"),
    ({"spec": {"max-staleness": 2}}, "spec.max-staleness", "remove it, or use one of checkpoint"),
    ({"spec": {"credentialsSecret": "s"}}, "spec.credentialsSecret", "it belongs into storage"),
    ({"spec": {"storage": {"bucket": "b"}}}, "spec.storage.bucket", "write url"),
    ({"spec": {"gpusPerPod": 8}}, "spec.gpusPerPod", "it belongs into trainer"),
    ({"spec": {"rollout": {}, "parallelism": 1}}, "spec.parallelism", "it belongs into rollout"),
    (_stage("SFT", "sft", {"learning-rate": 1}), "spec.stages[0].sft.learning-rate", "write lear"),
    (_stage("SFT", "sft", {}, epochs=1), "spec.stages[0].epochs", "it belongs into sft"),
    (_stage("UserSFT", "userSFT", {}, epochs=1), "spec.stages[0].epochs", "into userSFT"),
    ({"spec": {"checkpoint": {"everyStep": 1}}}, "spec.checkpoint.everyStep", "everySteps?"),
    ({"metadata": {"lables": {}}}, "metadata.lables", "did you mean labels?"),
    ({"specs": {}}, "specs", "did you mean spec?"),
    ({"spec": {"scheduling": {"queueName": "q"}}}, "spec.scheduling.queueName", "docs/pods.md"),
]


@pytest.mark.parametrize(("patch", "path", "hint"), HINTS)
def test_an_unknown_field_names_the_one_that_was_meant(
    patch: dict[str, Any], path: str, hint: str, job: BuildJob
) -> None:
    found = {str(one).partition(": ")[0]: one.sentence for one in problems(job(patch))}
    assert hint in found[path]


@pytest.mark.parametrize("key", sorted(ELSEWHERE))
def test_a_field_of_a_pod_in_the_wrong_place_is_told_the_right_one(key: str, job: BuildJob) -> None:
    template: Any = {key: {}}
    if key == "valueFrom":
        template = {"env": [{"name": "A", "value": "", key: {"secretKeyRef": {}}}]}
    found = problems(job({"spec": {"trainer": {"template": template}}}))
    assert [f"it goes to {ELSEWHERE[key]}" in one.sentence for one in found] == [True]


def test_a_patch_of_a_pod_may_hold_whatever_a_pod_may(job: BuildJob) -> None:
    patch = {"spec": {"serviceAccountName": "a", "containers": [{"name": "b", "image": "c"}]}}
    assert problems(job({"spec": {"trainer": {"template": {"patch": patch}}}})) == []
    wrong = problems(job({"spec": {"trainer": {"template": {"patch": {"specs": {}}}}}}))
    assert ["did you mean spec?" in one.sentence for one in wrong] == [True]


def test_fields_that_only_the_server_writes_are_no_unknown_ones(job: BuildJob) -> None:
    """`kubectl get -o yaml` shows them, and people apply that."""
    meta = {"uid": "u", "resourceVersion": "1", "managedFields": [{"x": 1}], "generation": 1}
    exported = {**job({"metadata": meta}), "status": {"whatever": {"another": "release wrote"}}}
    assert unknown_fields(exported) == []
    assert problems(exported) == []


def test_nulls_are_found_wherever_they_are() -> None:
    value = {"a": None, "b": [1, None, {"c": None}], "d": {"e": 1}}
    assert nulls(value) == [("a",), ("b", 1), ("b", 2, "c")]


ADVICE = [
    ({"learningRate": 0.01}, "learningRate"),
    ({"learningRate": 1}, "learningRate"),
    ({"promptsPerStep": 2, "trajectoriesPerPrompt": 2, "minibatches": 5}, "minibatches"),
    ({"promptsPerStep": 65}, "maxConcurrentGroups"),
    ({"maxConcurrentGroups": 15}, "maxConcurrentGroups"),
]


@pytest.mark.parametrize(("rl", "field"), ADVICE)
def test_advice_about_rl(rl: dict[str, Any], field: str, job: BuildJob) -> None:
    stages = [{"name": "rl", "type": "RL", "rl": rl}]
    spec = job({"spec": {"stages": stages, "rollout": {"gpusPerPod": 1}}})["spec"]
    assert [one.path[-1] for one in advice(Spec.model_validate(spec))] == [field]


@pytest.mark.parametrize(
    ("rollout", "words"),
    [
        ({"gpusPerPod": 8}, ""),
        ({"gpusPerPod": 8, "parallelism": {"tensor": 8, "expert": 8}}, ""),
        ({"gpusPerPod": 0, "parallelism": {"tensor": 1}}, ""),
        ({"gpusPerPod": 8, "parallelism": {"tensor": 4}}, "other GPUs would be idle"),
        ({"gpusPerPod": 8, "parallelism": {"tensor": 1}}, "other GPUs would be idle"),
        ({"gpusPerPod": 8, "parallelism": {"expert": 4}}, "same GPUs as its matrices"),
    ],
)
def test_an_engine_uses_all_gpus_of_its_pod(
    rollout: dict[str, Any], words: str, job: BuildJob
) -> None:
    found = problems(job({"spec": {"rollout": rollout}}))
    assert [words in one.sentence for one in found] == [True] * bool(words)


@pytest.mark.parametrize(
    ("rl", "words"),
    [
        ({"minibatches": 1}, ""),
        # As the API server stores every job: with the defaults.
        ({"minibatches": 1, "clipLow": 0.2, "clipHigh": 0.2}, ""),
        ({"minibatches": 1, "clipLow": 0.4}, "nothing is clipped"),
        ({"minibatches": 4, "clipLow": 0.4}, ""),
        ({"rewardScale": 10}, "cancels rewardBias and rewardScale out"),
        ({"rewardBias": -0.5, "advantageNormalization": "Batch"}, "cancels"),
        ({"rewardBias": -0.5, "advantageNormalization": "None"}, ""),
    ],
)
def test_advice_about_settings_that_have_no_effect(
    rl: dict[str, Any], words: str, job: BuildJob
) -> None:
    stage = {"name": "rl", "type": "RL", "rl": rl}
    spec = Spec.model_validate(job({"spec": {"stages": [stage]}})["spec"])
    assert [words in one.sentence for one in advice(spec)] == [True] * bool(words)


@pytest.mark.parametrize(
    ("spec", "path", "words"),
    [
        ({"stages": [{"name": "rl", "type": "RL", "rl": {"temperature": 2.5}}]}, "temperature",
         "2"),
        ({"stages": [{"name": "e", "type": "Evaluation", "evaluation": {"temperature": 3}}]},
         "temperature", "2"),
        ({"stages": [{"name": "rl", "type": "RL", "rl": {"maxRepeats": 1}}]}, "rl",
         "maxRepeats 1 would end every episode"),
        ({"storage": {"url": "s3://bucket/my run"}}, "url", "no blanks"),
        ({"storage": {"url": "s3://bb/r", "region": "eu-west-1 "}}, "region", "without blanks"),
        ({"storage": {"url": "s3://bb/r", "caBundle": {}}}, "caBundle", "one object"),
        ({"storage": {"url": "s3://bb/r", "caBundle": {"secretName": "a", "configMapName": "b"}}},
         "caBundle", "one object"),
    ],
)  # fmt: skip
def test_what_vllm_or_a_store_would_refuse_is_refused_first(
    spec: dict[str, Any], path: str, words: str, job: BuildJob
) -> None:
    (found,) = problems(job({"spec": spec}))
    assert path in ".".join(map(str, found.path))
    assert words in found.sentence
