"""What the generated files promise: descriptions, bounds, sentences, and that they're current."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sea_api import outputs
from sea_api.__main__ import main
from sea_api.crd import COLUMNS, custom_resource_definition, root_schema, to_yaml
from sea_api.v1alpha1.edits import SENTENCES

Schema = dict[str, Any]


def _fields(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Every named field, map value and list item below a schema."""
    for name, field in schema.get("properties", {}).items():
        yield from _with_inner(f"{path}.{name}", field)
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if key in schema:
            yield from _with_inner(path + mark, schema[key])


def _with_inner(path: str, field: Schema) -> Iterator[tuple[str, Schema]]:
    if path != ".metadata":
        yield path, field
        yield from _fields(field, path)


FIELDS = dict(_fields(root_schema()))
VALIDATED = {"": root_schema()} | FIELDS


@pytest.mark.parametrize("path", [p for p in FIELDS if not p.endswith(("[]", "{}"))])
def test_every_field_is_described(path: str) -> None:
    text = FIELDS[path].get("description", "")
    assert text.endswith((".", ";")), f"{path} needs a docstring that is a sentence"


LEAVES = [
    path
    for path, field in FIELDS.items()
    if path.startswith(".spec.")
    and not path.endswith(("[]", "{}"))
    and "properties" not in field
    and "properties" not in field.get("items", {})
]


@pytest.mark.parametrize("path", LEAVES)
def test_every_field_says_when_an_edit_takes_effect(path: str) -> None:
    """One of four sentences, which the model's `edits` has chosen."""
    text = FIELDS[path].get("description", "")
    assert [effect for effect, sentence in SENTENCES.items() if text.endswith(sentence)], text


@pytest.mark.parametrize("path", FIELDS)
def test_everything_is_bounded(path: str) -> None:
    """Without bounds the server refuses CEL rules, and one object may fill etcd."""
    field = FIELDS[path]
    needed = {
        "string": ("maxLength",),
        "array": ("maxItems",),
        "integer": ("minimum", "maximum"),
        "number": ("minimum", "maximum"),
    }.get(field.get("type", ""), ())
    if path in (".apiVersion", ".kind") or "enum" in field:
        return
    assert [key for key in needed if key not in field] == []
    if "additionalProperties" in field:
        assert "maxProperties" in field


def test_every_rule_is_a_sentence() -> None:
    """Each says what to do after a colon, or names a limit; none spans lines."""
    rules = [
        rule for field in VALIDATED.values() for rule in field.get("x-kubernetes-validations", [])
    ]
    assert len(rules) > 20
    for rule in rules:
        assert len(rule["message"].split()) >= 6, rule
        assert "\n" not in rule["message"]
        assert ":" in rule["message"] or "since" in rule["message"], rule


def test_columns() -> None:
    """The default columns are those of the design; the rest needs `-o wide`."""
    shown = [column["name"] for column in COLUMNS if "priority" not in column]
    assert shown == ["State", "Stage", "Step", "Reward", "Pass^1", "Weights", "Ready", "Age"]


def test_kubectl_get_all_lists_jobs() -> None:
    assert custom_resource_definition()["spec"]["names"]["categories"] == ["all"]


def test_a_checkpoint_is_shown_with_its_stage() -> None:
    paths = [column["jsonPath"] for column in COLUMNS]
    assert {".status.checkpoint.stage", ".status.checkpoint.step"} <= set(paths)


def test_generated_files_are_current(root: Path) -> None:
    assert outputs.differing(root) == []


def test_check_names_what_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`check-crds` fails until `write-crds` has run."""
    assert main(["check-crds", "--root", str(tmp_path)]) == 1
    assert "run `make crds`" in capsys.readouterr().err
    assert main(["write-crds", "--root", str(tmp_path)]) == 0
    assert main(["check-crds", "--root", str(tmp_path)]) == 0


def test_yaml_has_no_anchors_and_reads_back() -> None:
    crd = custom_resource_definition()
    text = to_yaml(crd)
    assert "&id" not in text
    assert yaml.safe_load(text) == crd


def test_the_crd_fits_client_side_apply() -> None:
    """`kubectl apply` stores the whole object, as JSON, in annotations of at most 256 KiB."""
    assert len(json.dumps(custom_resource_definition(), separators=(",", ":"))) < 230_000
