"""Patches of pod templates on the real API server: merged as it merges, stored, refused by name."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sea_devcluster.api import KubeApi
from sea_operator.kube.client import Kind
from sea_operator.resources.strategic_merge import MERGE_KEYS, merge
from sea_testing.operator_client import Recorder
from sea_testing.operator_world import World

pytestmark = pytest.mark.cluster

TEMPLATE = Kind("v1", "PodTemplate", "podtemplates")
STRATEGIC = "application/strategic-merge-patch+json"
Reconcile = Callable[..., Awaitable[float | None]]

PATCH = {
    "metadata": {"labels": {"team": "ml"}, "annotations": {"a.example/b": "c"}},
    "spec": {
        "serviceAccountName": "irsa",
        "imagePullSecrets": [{"name": "regcred"}],
        "hostNetwork": False,
        "shareProcessNamespace": False,
        "terminationGracePeriodSeconds": 60,
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}
        ],
        "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["store"]}],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [
                        {"matchExpressions": [{"key": "x", "operator": "Exists"}]}
                    ]
                }
            }
        },
        "volumes": [
            {"name": "cache", "emptyDir": {"sizeLimit": "1024Mi"}},
            {"name": "projected", "projected": {"sources": [{"secret": {"name": "s"}}]}},
        ],
        "initContainers": [{"name": "warm", "image": "x", "restartPolicy": "Always"}],
        "containers": [
            {"name": "sidecar", "image": "y", "env": [{"name": "EMPTY", "value": ""}]},
            {
                "name": "trainer",
                "env": [
                    {"name": "K", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                    {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                ],
                "volumeMounts": [{"name": "cache", "mountPath": "/cache", "readOnly": False}],
                "securityContext": {"capabilities": {"add": ["IPC_LOCK"]}},
            },
        ],
    },
}


async def test_a_patch_is_in_the_statefulset_and_not_applied_again(
    world: World, reconcile: Reconcile, recorder: Recorder, until: Any
) -> None:
    await world.create_secret()
    account = Kind("v1", "ServiceAccount", "serviceaccounts")
    body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "irsa"}}
    await world.client.create(account, world.namespace, body)
    tolerations = [
        {"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}
    ]
    await world.create_job(
        trainer={"template": {"patch": PATCH}}, scheduling={"tolerations": tolerations}
    )
    await reconcile(world)
    await until(world.judged)
    await reconcile(world)
    recorder.writes.clear()
    await reconcile(world)
    assert recorder.writes == []
    pods = {pod["metadata"]["name"]: pod for pod in await world.pods()}
    trainer, rollout = pods["j-trainer-0"], pods["j-rollout-0"]
    assert trainer["metadata"]["labels"]["team"] == "ml"
    assert trainer["metadata"]["annotations"]["a.example/b"] == "c"
    assert trainer["spec"]["serviceAccountName"] == "irsa"
    assert {one["name"] for one in trainer["spec"]["containers"]} == {"trainer", "sidecar"}
    (ours,) = [one for one in rollout["spec"]["tolerations"] if one["key"] == "k"]
    assert ours["tolerationSeconds"] == 30


@pytest.mark.parametrize(
    ("patch", "says"),
    [
        ({"serviceAcountName": "irsa"}, 'unknown field "spec.template.spec.serviceAcountName"'),
        (
            {"containers": [{"name": "trainer", "volumemounts": []}]},
            'unknown field "spec.template.spec.containers[0].volumemounts"',
        ),
        (
            {"containers": [{"name": "trianer", "env": []}]},
            "spec.template.spec.containers[1].image",
        ),
        ({"hostNetwork": "yes"}, "hostNetwork"),
    ],
)
async def test_a_typo_in_a_patch_stalls_with_the_servers_words(
    world: World, reconcile: Reconcile, patch: Any, says: str
) -> None:
    await world.create_secret()
    await world.create_job(trainer={"template": {"patch": {"spec": patch}}})
    await reconcile(world)
    stalled = await world.condition("Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "ChildRejected")
    assert says in stalled["message"]
    assert "j-trainer" not in await world.sizes()


def resolved(schemas: Any, schema: Any) -> Any:
    """A schema behind the references by which fields name their type."""
    reference = schema.get("$ref") or next((one["$ref"] for one in schema.get("allOf", [])), None)
    return schemas[reference.rpartition("/")[2]] if reference else schema


def keyed_lists(schemas: Any, schema: Any, path: tuple[str, ...] = ()) -> dict[Any, str]:
    """Lists that the API server merges entry by entry, with their keys, below a schema."""
    found: dict[Any, str] = {}
    for name, field in resolved(schemas, schema).get("properties", {}).items():
        here = (*path, name)
        if key := field.get("x-kubernetes-patch-merge-key"):
            found[here] = key
        if "items" in field or "properties" in resolved(schemas, field):
            found |= keyed_lists(schemas, field.get("items", field), here)
    return found


async def test_lists_merge_by_the_keys_that_the_api_server_names(kube: KubeApi) -> None:
    schemas = kube.get("/openapi/v3/api/v1")["components"]["schemas"]
    template = schemas["io.k8s.api.core.v1.PodTemplateSpec"]
    assert keyed_lists(schemas, template) == dict(MERGE_KEYS)


def sorted_entries(value: Any) -> Any:
    """The API server puts new entries first, we last: `kubectl logs` shows the first container."""
    if isinstance(value, dict):
        return {key: sorted_entries(one) for key, one in value.items()}
    return sorted(map(sorted_entries, value), key=str) if isinstance(value, list) else value


ORIGINAL = {
    "metadata": {"labels": {"a": "1", "b": "2"}},
    "spec": {
        "containers": [
            {
                "name": "c",
                "image": "i",
                "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                "ports": [{"containerPort": 80, "protocol": "TCP", "name": "x"}],
                "volumeMounts": [{"name": "v", "mountPath": "/a"}],
            }
        ],
        "volumes": [{"name": "v", "emptyDir": {}}],
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["a"]}],
        "nodeSelector": {"x": "y"},
    },
}


@pytest.mark.parametrize(
    "patch",
    [
        {"metadata": {"labels": {"b": None, "c": "3"}}},
        {"spec": {"containers": [{"name": "d", "image": "j"}, {"name": "c", "image": "k"}]}},
        {"spec": {"containers": [{"name": "c", "env": [{"name": "B", "value": "3"}]}]}},
        {"spec": {"containers": [{"name": "c", "env": [{"name": "A", "$patch": "delete"}]}]}},
        {"spec": {"containers": [{"name": "c", "env": [{"$patch": "replace"}, {"name": "C"}]}]}},
        {"spec": {"containers": [{"name": "c", "ports": [{"containerPort": 81}]}]}},
        {"spec": {"tolerations": [{"key": "b", "operator": "Exists"}]}},
        {"spec": {"hostAliases": [{"ip": "10.0.0.2", "hostnames": ["b"]}]}},
        {"spec": {"nodeSelector": {"$patch": "replace", "z": "w"}}},
        {"spec": {"nodeSelector": {"$patch": "delete"}}},
        {"spec": {"nodeSelector": None, "serviceAccountName": "s"}},
        {"spec": {"volumes": [{"name": "w", "configMap": {"name": "m"}}]}},
    ],
)
async def test_a_merge_is_the_api_servers_own(world: World, patch: Any) -> None:
    """Both ways round: their patch of the original, and what ours makes stored as it is."""
    client, namespace = world.client, world.namespace
    head = {"apiVersion": "v1", "kind": "PodTemplate"}
    await client.create(
        TEMPLATE, namespace, {**head, "metadata": {"name": "a"}, "template": ORIGINAL}
    )
    path = TEMPLATE.path(namespace, "a")
    theirs = await client.request("PATCH", path, [], {"template": patch}, STRATEGIC)
    ours = {"metadata": {"name": "b"}, "template": merge(ORIGINAL, patch)}
    stored = await client.create(TEMPLATE, namespace, {**head, **ours})
    assert sorted_entries(stored["template"]) == sorted_entries(theirs["template"])
