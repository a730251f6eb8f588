"""The way from pydantic to a structural schema: what is rewritten, and what is refused."""

from datetime import timedelta
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, WithJsonSchema

from sea_api import reference
from sea_api.schema import SchemaError, structural_schema
from sea_api.v1alpha1.base import ApiModel
from sea_api.v1alpha1.rules import Rule


def _field(annotation: Any, **settings: Any) -> dict[str, Any]:
    model = type("Model", (BaseModel,), {"__annotations__": {"x": annotation}} | settings)
    schema: dict[str, Any] = structural_schema(model)["properties"]["x"]
    return schema


class Inner(BaseModel):
    """An inner object."""

    title: str = "t"
    note: str | None = None


class Loop(BaseModel):
    again: "Loop | None" = None


class Tagged(BaseModel):
    kind: Literal["tagged"]


class Labelled(BaseModel):
    kind: Literal["labelled"]


def test_references_are_inlined_and_titles_dropped() -> None:
    """A property that is called title stays; the keyword goes."""
    schema = _field(Inner)
    assert schema["description"] == "An inner object."
    assert set(schema["properties"]) == {"title", "note"}
    assert "title" not in schema["properties"]["title"]


def test_keys_beside_a_reference_win() -> None:
    schema = _field(Annotated[Inner, Field(description="Mine.")])
    assert schema["description"] == "Mine."


def test_optional_is_not_nullable() -> None:
    """`X | None` becomes X without a default: absent and null mean the same."""
    assert _field(int | None, x=None) == {"type": "integer"}


def test_nulls_inside_defaults_go() -> None:
    assert _field(Inner, x=Inner())["default"] == {"title": "t"}


def test_a_const_becomes_an_enum_of_one() -> None:
    assert _field(Literal["a"]) == {"type": "string", "enum": ["a"]}


def test_exclusive_bounds_become_flags() -> None:
    schema = _field(Annotated[float, Field(gt=0, lt=1)])
    assert schema == {
        "type": "number",
        "minimum": 0,
        "exclusiveMinimum": True,
        "maximum": 1,
        "exclusiveMaximum": True,
    }


def test_int_or_string() -> None:
    schema = _field(int | str)
    assert schema["x-kubernetes-int-or-string"] is True
    assert schema["anyOf"] == [{"type": "integer"}, {"type": "string"}]


def test_a_set_becomes_a_list_type() -> None:
    assert _field(set[str])["x-kubernetes-list-type"] == "set"


def test_anything_keeps_unknown_fields() -> None:
    assert _field(Any) == {"x-kubernetes-preserve-unknown-fields": True}
    assert _field(dict[str, Any])["x-kubernetes-preserve-unknown-fields"] is True


def test_a_map_keeps_its_values() -> None:
    assert _field(dict[str, int])["additionalProperties"] == {"type": "integer"}


class Pair(ApiModel):
    """An object with a rule about all of it."""

    invariants = (Rule("self.a < self.b", "a must be less than b: correct it", lambda pair: True),)

    name: str = ""
    a: int
    b: int


def test_an_object_may_go_on_breaking_a_rule_that_it_broke_before() -> None:
    """A rule that a release adds must not keep running jobs from being suspended."""
    rules = _field(Pair)["x-kubernetes-validations"]
    assert [(rule["rule"], rule.get("optionalOldSelf", False)) for rule in rules] == [
        ("oldSelf.hasValue() || (self.a < self.b)", True),
        ("(self.a < self.b) || !(oldSelf.a < oldSelf.b)", False),
    ]
    assert {rule["message"] for rule in rules} == {"a must be less than b: correct it"}
    keyed: Any = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
    items = _field(Annotated[list[Pair], Field(json_schema_extra=keyed)])["items"]
    assert items["x-kubernetes-validations"] == rules


def test_where_nobody_knows_an_objects_predecessor_a_rule_stays_as_it_is() -> None:
    (rule,) = _field(list[Pair])["items"]["x-kubernetes-validations"]
    assert rule == {"rule": "self.a < self.b", "message": "a must be less than b: correct it"}


@pytest.mark.parametrize(
    ("annotation", "sentence"),
    [
        (tuple[int, str], "'prefixItems'"),
        (dict[Annotated[str, Field(pattern="^a$")], int], "'patternProperties'"),
        (dict[Annotated[str, Field(max_length=3)], int], "'propertyNames'"),
        (int | bool, "is a union"),
        (Inner | Tagged, "is a union"),
        (Annotated[Tagged | Labelled, Field(discriminator="kind")], "'discriminator'"),
        (timedelta, "'format'"),
        (Annotated[str, WithJsonSchema({"type": "string", "pattern": "(?=a)b"})], "RE2"),
        (Annotated[str, WithJsonSchema({"type": "string", "pattern": r"a\Z"})], "RE2"),
        (Annotated[str, WithJsonSchema({"type": "string", "pattern": r"(a)\1"})], "RE2"),
        (Annotated[int, WithJsonSchema({"not": {"type": "null"}})], "'not'"),
        (Loop, "contains itself"),
    ],
)
def test_refused(annotation: Any, sentence: str) -> None:
    """What a CRD can't say is refused with the path of the field."""
    with pytest.raises(SchemaError, match=r"^Model\.x") as caught:
        _field(annotation)
    assert sentence in str(caught.value)


def test_the_reference_names_each_rule_once() -> None:
    """In the CRD a rule that ratchets is two."""
    for section in reference.render().split("\n## "):
        rules = [line for line in section.splitlines() if line.startswith("- ")]
        assert len(rules) == len(set(rules)), section.splitlines()[0]
