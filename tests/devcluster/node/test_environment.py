"""Environment composition, `$(VAR)` expansion and the downward API."""

from typing import Any

import pytest

from sea_devcluster.node.environment import PodFacts, compose, expand, field_value
from sea_devcluster.node.references import MissingReferenceError

FACTS = PodFacts("127.1.1.2", "127.1.0.11")
POD = {
    "metadata": {
        "name": "p",
        "namespace": "n",
        "uid": "u",
        "labels": {"a": "1", "b/c": 'x"y'},
        "annotations": {"note": "line\nbreak"},
    },
    "spec": {"nodeName": "node", "serviceAccountName": "default"},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("$(A)", "1"),
        ("x$(A)y$(B)", "x1y2"),
        ("$(NO)", "$(NO)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A ${A}", "$A ${A}"),
        ("$(A", "$(A"),
        ("cost: 5$", "cost: 5$"),
    ],
)
def test_expansion(text: str, expected: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("metadata.name", "p"),
        ("metadata.labels['b/c']", 'x"y'),
        ("metadata.labels['none']", ""),
        ("metadata.labels", 'a="1"\nb/c="x\\"y"'),
        ("metadata.annotations", 'note="line\\nbreak"'),
        ("status.podIP", "127.1.1.2"),
        ("status.hostIP", "127.1.0.11"),
        ("spec.nodeName", "node"),
    ],
)
def test_fields(path: str, expected: str) -> None:
    assert field_value(POD, path, FACTS) == expected


def test_an_unknown_field_lists_the_known_ones() -> None:
    with pytest.raises(MissingReferenceError, match=r"metadata\.uid"):
        field_value(POD, "spec.priority", FACTS)


def key(kind: Any, name: Any, entry: Any, optional: Any = False) -> Any:
    return {"name": "V", "valueFrom": {kind: {"name": name, "key": entry, "optional": optional}}}


LOOKUP = {("Secret", "s"): {"k": b"v"}, ("Secret", "no"): None, ("ConfigMap", "c"): {"k": b"w"}}


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (key("secretKeyRef", "s", "k"), "v"),
        (key("configMapKeyRef", "c", "k"), "w"),
        (key("secretKeyRef", "no", "k", optional=True), None),
        (key("secretKeyRef", "s", "no", optional=True), None),
        ({"name": "V", "value": "$(BASE)/x"}, "base/x"),
        ({"name": "V"}, ""),
    ],
)
def test_values(entry: Any, expected: str | None) -> None:
    found = compose({"BASE": "base"}, POD, {"env": [entry]}, FACTS, LOOKUP)
    assert found.get("V") == expected


@pytest.mark.parametrize(
    ("container", "sentence"),
    [
        ({"env": [key("secretKeyRef", "no", "k")]}, "Secret 'no' not found in namespace 'n'"),
        ({"env": [key("secretKeyRef", "s", "x")]}, "Secret n/s has no key 'x'"),
        ({"envFrom": [{"configMapRef": {"name": "gone"}}]}, "ConfigMap 'gone' not found"),
    ],
)
def test_what_is_missing_is_named(container: Any, sentence: str) -> None:
    with pytest.raises(MissingReferenceError, match=sentence):
        compose({}, POD, container, FACTS, LOOKUP)


def test_env_wins_over_env_from() -> None:
    container = {
        "envFrom": [{"secretRef": {"name": "s"}}, {"configMapRef": {"name": "c"}, "prefix": "C_"}],
        "env": [{"name": "k", "value": "own"}],
    }
    assert compose({}, POD, container, FACTS, LOOKUP) == {"k": "own", "C_k": "w"}
