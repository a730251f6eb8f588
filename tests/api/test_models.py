"""What Python readers rely on: strict scalars, round trips, all broken rules reported at once."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from sea_api.v1alpha1.base import ApiModel
from sea_api.v1alpha1.job import SEATrainingJob, Spec
from sea_api.v1alpha1.roles import Trainer
from sea_api.v1alpha1.status import Status
from sea_testing.fixture_types import BuildJob

WRONG = {"integer": "1", "number": "1.5", "boolean": 1, "string": 1}


def _models(model: type[ApiModel]) -> Iterator[type[ApiModel]]:
    """The model and all that its fields hold, by way of pydantic's own definitions."""
    seen: set[type[ApiModel]] = set()
    pending = [model]
    while pending:
        current = pending.pop()
        if current in seen:
            continue
        seen.add(current)
        yield current
        for field in current.model_fields.values():
            pending += [t for t in _types(field.annotation) if issubclass(t, ApiModel)]


def _types(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type) and not hasattr(annotation, "__args__"):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _types(inner)


def _scalars() -> list[Any]:
    return [
        pytest.param(field.rebuild_annotation(), option["type"], id=f"{model.__name__}.{name}")
        for model in _models(SEATrainingJob)
        for name, field in model.model_fields.items()
        for option in _options(TypeAdapter(field.rebuild_annotation()).json_schema())
    ]


def _options(schema: dict[str, Any]) -> list[dict[str, Any]]:
    options = schema.get("anyOf", [schema])
    if len([option for option in options if option.get("type") != "null"]) > 1:
        return []  # quantities: a number is welcome
    return [option for option in options if option.get("type") in WRONG]


@pytest.mark.parametrize(("annotation", "kind"), _scalars())
def test_scalars_are_strict(annotation: Any, kind: str) -> None:
    """As on the server, `"8"` is no number and 1 no truth value."""
    with pytest.raises(ValidationError):
        TypeAdapter(annotation).validate_python(WRONG[kind])


def test_round_trip(job: BuildJob) -> None:
    """A dump, nulls included, reads back as the same job."""
    model = SEATrainingJob.model_validate(job())
    assert SEATrainingJob.model_validate(model.model_dump(mode="json", by_alias=True)) == model
    assert SEATrainingJob.model_validate_json(model.model_dump_json(by_alias=True)) == model


def test_all_broken_rules_are_reported() -> None:
    """One edit should be enough to mend an object."""
    with pytest.raises(ValidationError) as caught:
        Trainer.model_validate(
            {
                "replicas": 3,
                "parallelism": {"expert": 7},
                "elastic": {"minReplicas": 1, "maxReplicas": 2},
            }
        )
    assert "must be a multiple of parallelism.expert" in str(caught.value)
    assert "replicas must lie within" in str(caught.value)


def test_a_required_null_is_missing(job: BuildJob) -> None:
    """Null counts as absent, so the message names the missing field instead of a wrong type."""
    with pytest.raises(ValidationError, match="Field required"):
        SEATrainingJob.model_validate(job() | {"spec": job()["spec"] | {"model": None}})


def test_a_status_holds_the_scores_of_the_largest_program() -> None:
    """A status that the server refuses would freeze its job."""
    bounds = {
        (model, name): item.max_length
        for model, name in ((Spec, "stages"), (Spec, "domains"), (Status, "evaluation"))
        for item in model.model_fields[name].metadata
        if hasattr(item, "max_length")
    }
    most = bounds[Spec, "stages"] * (bounds[Spec, "domains"] + 1)
    assert bounds[Status, "evaluation"] >= most
