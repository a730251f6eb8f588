"""Plain manifests, and the values of the chart, which `operator/cluster/test_chart.py` renders."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from sea_operator import permissions

Object = dict[str, Any]


def _by_name(documents: Iterator[Any]) -> dict[tuple[str, str], Object]:
    return {(d["kind"], d["metadata"]["name"]): d for d in documents if d}


@pytest.fixture(scope="module")
def values(root: Path) -> Object:
    result: Object = yaml.safe_load((root / "charts/sea-operator/values.yaml").read_text())
    return result


@pytest.fixture(scope="module")
def manifests(root: Path) -> dict[tuple[str, str], Object]:
    return _by_name(yaml.safe_load_all((root / "deploy/operator.yaml").read_text()))


def test_rules_are_what_the_operator_uses(manifests: dict[tuple[str, str], Object]) -> None:
    """Not a verb more: no write to jobs, no list of Secrets, no making of pods."""
    assert _granted(manifests, "ClusterRole", "sea-system:sea-operator") == _used(permissions.JOBS)
    assert _granted(manifests, "ClusterRole", "sea-system:sea-operator-nodes") == _used(
        permissions.CLUSTER
    )
    leases = _granted(manifests, "Role", "sea-operator-leader-election")
    assert leases == _used(permissions.OWN_NAMESPACE)


def _granted(manifests: Any, kind: str, name: str) -> set[tuple[str, str, str]]:
    return {
        (group, resource, verb)
        for rule in manifests[kind, name]["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def _used(rules: tuple[permissions.Rule, ...]) -> set[tuple[str, str, str]]:
    return {(rule.group, rule.resource, verb) for rule in rules for verb in rule.verbs}


def test_bindings_name_what_exists(manifests: dict[tuple[str, str], Object]) -> None:
    for (kind, _), document in manifests.items():
        if kind.endswith("Binding"):
            role = document["roleRef"]
            assert (role["kind"], role["name"]) in manifests
            assert ("ServiceAccount", document["subjects"][0]["name"]) in manifests


def test_restricted_pod_security(manifests: dict[tuple[str, str], Object]) -> None:
    """What the Pod Security Standard `restricted` asks of a container."""
    pod = manifests["Deployment", "sea-operator"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_values_fit_their_schema(root: Path, values: Object) -> None:
    """The schema knows every value, at every level, and refuses a misspelt one."""
    schema = json.loads((root / "charts/sea-operator/values.schema.json").read_text())
    jsonschema.validate(values, schema)
    assert set(values) | {"global", "enabled"} == set(schema["properties"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**values, "replica": 2}, schema)


def test_every_value_is_used(root: Path, values: Object) -> None:
    """A value that no template reads misleads users."""
    templates = "".join(f.read_text() for f in (root / "charts/sea-operator/templates").iterdir())
    assert [key for key in values if f".Values.{key}" not in templates] == []


def test_every_value_has_a_comment(root: Path, values: Object) -> None:
    text = (root / "charts/sea-operator/values.yaml").read_text()
    for key in values:
        before = text.split(f"\n{key}:", 1)[0].rstrip().splitlines()[-1]
        first_inner = text.split(f"\n{key}:", 1)[1].lstrip("\n").splitlines()[0]
        described = before.startswith("#") or first_inner.lstrip().startswith("#")
        assert described or key in (
            "tolerations",
            "affinity",
            "priorityClassName",
            "podAnnotations",
        )
