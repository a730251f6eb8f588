"""The operator's manifests on a real API server: accepted strictly, and RBAC as it decides."""

from pathlib import Path
from typing import Any

import pytest

from sea_devcluster.api import KubeApi
from sea_devcluster.waiting import wait_until
from sea_operator import permissions
from sea_testing.fixture_types import Kubectl

pytestmark = pytest.mark.cluster

ACCOUNT = "system:serviceaccount:sea-system:sea-operator"
FORBIDDEN = [
    ("update", "seatrainingjobs.sea-operator.io", "default"),
    ("patch", "seatrainingjobs.sea-operator.io", "default"),
    ("delete", "seatrainingjobs.sea-operator.io", "default"),
    ("list", "secrets", "default"),
    ("watch", "secrets", "default"),
    ("delete", "secrets", "default"),
    ("create", "pods", "default"),
    ("watch", "nodes", "default"),
    ("patch", "nodes", "default"),
    ("update", "leases.coordination.k8s.io", "default"),
    ("create", "clusterrolebindings.rbac.authorization.k8s.io", "default"),
]


@pytest.fixture(scope="module")
def installed(kubectl: Kubectl, crd: Any, root: Path) -> None:
    kubectl("apply", "--validate=strict", "-f", str(root / "deploy/operator.yaml"))


def _may(kube: Any, verb: str, resource: str, namespace: str) -> bool:
    name, _, group = resource.partition(".")
    plural, _, sub = name.partition("/")
    asked = {"verb": verb, "group": group, "resource": plural, "subresource": sub}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": ACCOUNT, "resourceAttributes": {**asked, "namespace": namespace}},
    }
    answer = kube.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    return bool(answer["status"]["allowed"])


@pytest.mark.parametrize(
    ("rule", "namespace"),
    [(rule, "anywhere") for rule in (*permissions.JOBS, *permissions.CLUSTER)]
    + [(rule, "sea-system") for rule in permissions.OWN_NAMESPACE],
    ids=str,
)
def test_what_the_operator_does_is_allowed(
    rule: permissions.Rule, namespace: str, kube: KubeApi, installed: None
) -> None:
    resource, _, sub = rule.resource.partition("/")
    name = resource + (f"/{sub}" if sub else "") + (f".{rule.group}" if rule.group else "")
    # The authorizer hears of a new role a moment after it is stored.
    wait_until(
        lambda: all(_may(kube, verb, name, namespace) for verb in rule.verbs),
        what=f"{rule.verbs} of {name} to be allowed",
        timeout=120,
    )
    assert [verb for verb in rule.verbs if not _may(kube, verb, name, namespace)] == []


@pytest.mark.parametrize(("verb", "resource", "namespace"), FORBIDDEN)
def test_what_it_never_does_is_not(
    verb: str, resource: str, namespace: str, kube: KubeApi, installed: None
) -> None:
    assert not _may(kube, verb, resource, namespace)
