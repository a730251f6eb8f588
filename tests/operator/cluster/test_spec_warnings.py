"""Fields that the API server dropped: what the status says of a job that kubectl applied."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sea_api.v1alpha1.names import GROUP, KIND, PLURAL, VERSION
from sea_operator.errors import RejectedError
from sea_operator.kube.client import EVENT
from sea_testing.admission import BINDING, POLICY, drop, make, selected
from sea_testing.fixture_types import Kubectl
from sea_testing.operator_world import World

pytestmark = pytest.mark.cluster


def manifest(world: World, **strange: Any) -> str:
    meta = {"name": "j", "namespace": world.namespace}
    spec = {**world.make.raw_spec(), **strange}
    body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "metadata": meta, "spec": spec}
    return json.dumps(body)


async def test_a_field_that_nobody_validated_is_named_until_it_is_corrected(
    world: World, reconcile: Callable[..., Awaitable[float | None]], kubectl: Kubectl
) -> None:
    await world.create_secret()
    kubectl("apply", "--validate=ignore", "-f", "-", stdin=manifest(world, paused=True))
    assert "paused" not in (await world.job())["spec"], "the API server dropped it"
    await reconcile(world)
    found = await world.condition("SpecWarning")
    sentence = "spec.paused: there is no such field, so it has no effect: write suspend."
    assert (found["status"], found["reason"]) == ("True", "FieldsDropped")
    assert found["message"] == sentence
    assert (await world.condition("Stalled"))["status"] == "False"
    seen = ("seajob", "j", "-n", world.namespace)
    assert "FieldsDropped" in kubectl("get", *seen, "-o", "wide")
    assert "write suspend" in kubectl("describe", *seen)
    events = await world.client.list(EVENT, world.namespace, "")
    assert [(e["type"], e["message"]) for e in events if e["reason"] == "FieldsDropped"] == [
        ("Warning", sentence)
    ]
    generation = (await world.job())["metadata"]["generation"]
    kubectl("apply", "-f", "-", stdin=manifest(world))
    assert (await world.job())["metadata"]["generation"] == generation, "the spec is the same"
    await reconcile(world)
    assert (await world.condition("SpecWarning"))["status"] == "Absent"


async def test_no_admission_policy_sees_a_field_that_the_server_dropped(
    world: World, until: Any
) -> None:
    """Why the chart has none (docs/checking-a-job.md). The model's name shows that it is asked."""
    about = {"apiGroups": [GROUP], "apiVersions": [VERSION], "resources": [PLURAL]}
    refused = "!has(object.spec.paused) && object.spec.model.name != 'canary'"
    policy = {
        "matchConstraints": {
            "resourceRules": [{**about, "operations": ["CREATE"]}],
            "namespaceSelector": selected(world),
        },
        "validations": [{"expression": refused}],
    }
    await make(world, POLICY, {"spec": policy})
    binding = {"policyName": world.namespace, "validationActions": ["Deny"]}
    await make(world, BINDING, {"spec": binding})
    tried = iter(range(10_000))

    async def is_asked() -> bool:
        try:
            await world.create_job(f"c{next(tried)}", model={"name": "canary"}, paused=True)
        except RejectedError:
            return True
        return False

    try:
        await until(is_asked)
        await world.create_job(paused=True)
        assert "paused" not in (await world.job())["spec"], "admitted, and dropped"
    finally:
        await drop(world, BINDING)
        await drop(world, POLICY)
