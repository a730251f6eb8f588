"""Policies and webhooks that judge what happens in one test's namespace."""

from typing import Any

from sea_operator.kube.client import STATEFUL_SET, Kind
from sea_testing.operator_world import World

POLICIES = "admissionregistration.k8s.io/v1"
POLICY = Kind(POLICIES, "ValidatingAdmissionPolicy", "validatingadmissionpolicies")
BINDING = Kind(POLICIES, "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings")
WEBHOOK = Kind(POLICIES, "ValidatingWebhookConfiguration", "validatingwebhookconfigurations")


def selected(world: World) -> dict[str, Any]:
    """Selects the world's namespace alone."""
    return {"matchLabels": {"kubernetes.io/metadata.name": world.namespace}}


async def make(world: World, kind: Kind, spec: dict[str, Any]) -> None:
    """An object of the whole cluster, named as the namespace."""
    meta = {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": {"name": world.namespace},
    }
    await world.client.request("POST", kind.path(None), [], {**meta, **spec})


async def drop(world: World, kind: Kind) -> None:
    """Removes what `make` made."""
    await world.client.request("DELETE", kind.path(None, world.namespace))


async def judge_new_sets(world: World, url: str) -> None:
    """A webhook that is asked about each StatefulSet that is created."""
    rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"]}
    hook = {
        "name": "sets.example.com",
        "clientConfig": {"url": url},
        "rules": [{**rule, "resources": ["statefulsets"]}],
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "namespaceSelector": selected(world),
        "timeoutSeconds": 30,
    }
    await make(world, WEBHOOK, {"webhooks": [hook]})


async def try_new_set(world: World) -> None:
    """A creation that is judged and stores nothing. Raises `KubeError`."""
    labels = {"app": "probe"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    spec = {"serviceName": "x", "selector": {"matchLabels": labels}, "template": template}
    meta = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "probe"}}
    path = STATEFUL_SET.path(world.namespace)
    await world.client.request("POST", path, [("dryRun", "All")], {**meta, "spec": spec})
