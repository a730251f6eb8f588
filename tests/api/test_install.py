"""Chart and plain manifests agree, and grant no more than the operator uses.

The chart is rendered with its defaults by a renderer for the few constructs that it uses, so the
test needs no helm; whatever it doesn't know fails the test.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from sea_operator import permissions

Object = dict[str, Any]
BLOCK = re.compile(r"^\s*\{\{- (?:if|with|range) (not )?(?:\.|\.Values\.([\w.]+)) \}\}$")
END = re.compile(r"^\s*\{\{- end \}\}$")
LABELS = re.compile(
    r'^\s*\{\{- include "sea-operator\.(?:selectorL|l)abels" \. \| nindent (\d+) \}\}$'
)
TO_YAML = re.compile(r"^\s*\{\{- toYaml \.Values\.([\w.]+) \| nindent (\d+) \}\}$")
IMAGE = re.compile(
    r'\{\{ include "sea-operator\.image" \(dict "root" \. "name" \.Values\.([\w.]+)\) \}\}'
)
VALUE = re.compile(r"\{\{ \.Values\.([\w.]+) \}\}")
FIXED = {
    '{{ include "sea-operator.fullname" . }}': "sea-operator",
    "{{ .Release.Namespace }}": "sea-system",
}


def _at(values: Object, path: str) -> Any:
    for step in path.split("."):
        values = values[step]
    return values


def _rendered(text: str, values: Object) -> Iterator[str]:
    """Lines of a template whose blocks are switched by single values."""
    shown = [True]
    for line in text.splitlines():
        if block := BLOCK.match(line):
            # A block over `.` is inside one over a value, which the defaults leave empty.
            truth = bool(_at(values, block[2])) if block[2] else False
            shown.append(truth != bool(block[1]))
        elif END.match(line):
            shown.pop()
        elif all(shown):
            yield _line(line, values)


def _line(line: str, values: Object) -> str:
    if labels := LABELS.match(line):
        return " " * int(labels[1]) + "app.kubernetes.io/name: sea-operator"
    if block := TO_YAML.match(line):
        dumped = yaml.safe_dump(_at(values, block[1]))
        return "\n".join(" " * int(block[2]) + row for row in dumped.splitlines())
    for template, text in FIXED.items():
        line = line.replace(template, text)
    line = IMAGE.sub(lambda m: f"{_at(values, m[1])}:latest", line)
    line = VALUE.sub(lambda m: str(_at(values, m[1])), line)
    assert "{{" not in line, f"the renderer of this test doesn't know: {line}"
    return line


def _by_name(documents: Iterator[Any]) -> dict[tuple[str, str], Object]:
    return {(d["kind"], d["metadata"]["name"]): d for d in documents if d}


@pytest.fixture(scope="module")
def values(root: Path) -> Object:
    result: Object = yaml.safe_load((root / "charts/sea-operator/values.yaml").read_text())
    return result


@pytest.fixture(scope="module")
def chart(root: Path, values: Object) -> dict[tuple[str, str], Object]:
    files = sorted((root / "charts/sea-operator/templates").glob("*.yaml"))
    texts = ["\n".join(_rendered(f.read_text(), values)) for f in files if f.name != "crd.yaml"]
    return _by_name(yaml.safe_load_all("\n---\n".join(texts)))


@pytest.fixture(scope="module")
def manifests(root: Path) -> dict[tuple[str, str], Object]:
    return _by_name(yaml.safe_load_all((root / "deploy/operator.yaml").read_text()))


def test_chart_and_manifests_agree(
    chart: dict[tuple[str, str], Object], manifests: dict[tuple[str, str], Object]
) -> None:
    """Object by object; only the Namespace is Helm's own business."""
    plain = {key: value for key, value in manifests.items() if key[0] != "Namespace"}
    assert set(chart) == set(plain)
    for key, document in plain.items():
        assert chart[key] == document, key


def test_rules_are_what_the_operator_uses(manifests: dict[tuple[str, str], Object]) -> None:
    """Not a verb more: no write to jobs, no list of Secrets, no making of pods."""
    assert _granted(manifests, "ClusterRole", "sea-operator") == _used(permissions.JOBS)
    assert _granted(manifests, "ClusterRole", "sea-operator-nodes") == _used(permissions.CLUSTER)
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


def test_without_nodes_the_chart_binds_nothing_cluster_wide_but_jobs(
    root: Path, values: Object
) -> None:
    """With `watchNamespaces`, which turns the other one into RoleBindings: nothing at all."""
    off = {**values, "rbac": {**values["rbac"], "nodes": False}}
    text = (root / "charts/sea-operator/templates/rbac.yaml").read_text()
    made = _by_name(yaml.safe_load_all("\n".join(_rendered(text, off))))
    assert {name for kind, name in made if kind.startswith("Cluster")} == {"sea-operator"}
    watching = _by_name(
        yaml.safe_load_all(
            "\n".join(_rendered(text.split("{{- range")[0], off | {"watchNamespaces": 1}))
        )
    )
    assert {kind for kind, _ in watching} == {"ClusterRole"}


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
    assert set(values) | {"global"} == set(schema["properties"])
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
