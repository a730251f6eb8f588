"""A policy engine that changes every StatefulSet: accepted, instead of fought at each pass."""

import functools
from typing import Any

import pytest

from sea_operator.kube.client import STATEFUL_SET, Kind
from sea_testing.operator_client import Recorder
from sea_testing.operator_world import RunningOperator, World

pytestmark = pytest.mark.cluster

POLICIES = "admissionregistration.k8s.io/v1"
POLICY = Kind(POLICIES, "MutatingAdmissionPolicy", "mutatingadmissionpolicies")
BINDING = Kind(POLICIES, "MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings")
TOLERATION = (
    "Object.spec.template.spec.tolerations"
    '{key: "tenant", operator: "Equal", value: "ml", effect: "NoSchedule"}'
)
EXPRESSION = f"""
object.spec.template.spec.tolerations.exists(t, has(t.key) && t.key == "tenant") ? [] :
[JSONPatch{{op: "add", path: "/spec/template/spec/tolerations/-", value: {TOLERATION}}}]
"""


async def make(world: World, kind: Kind, spec: dict[str, Any]) -> None:
    typed = {"apiVersion": kind.api_version, "kind": kind.name}
    body = {**typed, "metadata": {"name": world.namespace}, "spec": spec}
    await world.client.request("POST", kind.path(None), [], body)


async def tolerations(world: World, name: str = "j-trainer") -> list[str]:
    live = await world.client.get(STATEFUL_SET, world.namespace, name)
    return [one["key"] for one in live["spec"]["template"]["spec"].get("tolerations", [])]


async def test_what_a_policy_adds_to_a_statefulset_is_accepted_after_one_apply(
    operator: RunningOperator, world: World, recorder: Recorder, until: Any
) -> None:
    rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"]}
    labels = {"kubernetes.io/metadata.name": world.namespace}
    matched = {
        "resourceRules": [{**rule, "resources": ["statefulsets"]}],
        "namespaceSelector": {"matchLabels": labels},
    }
    mutation = {"patchType": "JSONPatch", "jsonPatch": {"expression": EXPRESSION}}
    spec = {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchConstraints": matched,
        "mutations": [mutation],
    }
    await make(world, POLICY, spec)
    await make(world, BINDING, {"policyName": world.namespace})
    try:
        await until(functools.partial(enforced, world))
        await world.create_secret()
        wanted = {"tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]}
        await world.create_job(scheduling=wanted)
        await until(operator.known)
        await operator.a_pass()
        assert await tolerations(world) == ["gpu", "tenant"]
        await world.run_pods()
        await until(operator.ready)
        await until(operator.quiet)
        recorder.requests.clear()
        for _ in range(3):
            await operator.a_pass()
        assert [one for one in recorder.requests if "/statefulsets/" in one] == []
        # Another's change is still put right, once.
        await world.patch(STATEFUL_SET, "j-trainer", {"spec": {"replicas": 7}})

        async def put_right() -> bool:
            await operator.a_pass()
            return (await world.sizes())["j-trainer"] == 2

        await until(put_right)
        await world.edit(trainer={"replicas": 3})

        async def edited() -> bool:
            await operator.a_pass()
            return (await world.sizes())["j-trainer"] == 3

        await until(edited)
    finally:
        for kind in (BINDING, POLICY):
            await world.client.request("DELETE", kind.path(None, world.namespace))


async def enforced(world: World) -> bool:
    """Whether the API server has heard of the policy."""
    labels = {"app": "probe"}
    pod = {"containers": [{"name": "c", "image": "i"}], "tolerations": [{"operator": "Exists"}]}
    template = {"metadata": {"labels": labels}, "spec": pod}
    selector = {"matchLabels": labels}
    spec = {"replicas": 0, "serviceName": "x", "selector": selector, "template": template}
    typed = {"apiVersion": "apps/v1", "kind": "StatefulSet"}
    body = {**typed, "metadata": {"generateName": "probe-"}, "spec": spec}
    made = await world.client.create(STATEFUL_SET, world.namespace, body)
    return len(made["spec"]["template"]["spec"]["tolerations"]) == 2
