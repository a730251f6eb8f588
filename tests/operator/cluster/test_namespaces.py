"""Namespaces as platform teams make them: quotas, security levels, queues, other managers."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from sea_operator.children import REFUSED_SECONDS
from sea_operator.errors import KubeError
from sea_operator.kube.client import JOB, POD, STATEFUL_SET, Kind
from sea_testing.operator_client import Recorder
from sea_testing.operator_world import Clock, World

pytestmark = pytest.mark.cluster

QUOTA = Kind("v1", "ResourceQuota", "resourcequotas")
NAMESPACE = Kind("v1", "Namespace", "namespaces")
LIMITS: Any = {"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"cpu": 1, "memory": "1Gi"}}
ACCOUNT = Kind("v1", "ServiceAccount", "serviceaccounts")
ACCOUNT_BODY = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "irsa"}}
HARD = {
    "requests.cpu": "64",
    "requests.memory": "256Gi",
    "limits.cpu": "64",
    "limits.memory": "256Gi",
}
Reconcile = Callable[..., Awaitable[float | None]]


async def quota(world: World, hard: dict[str, str], until: Any) -> None:
    """A quota that the server enforces already."""
    body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"}}
    await world.client.create(QUOTA, world.namespace, {**body, "spec": {"hard": hard}})

    async def counted() -> Any:
        live = await world.client.get(QUOTA, world.namespace, "team")
        return set(live.get("status", {}).get("used", {})) == set(hard)

    await until(counted)


async def told(world: World, reconcile: Reconcile, kind: str, words: str, until: Any) -> Any:
    """The condition, once its message has the words."""

    async def found() -> Any:
        await reconcile(world)
        condition = await world.condition(kind)
        return condition if words in condition.get("message", "") else None

    return await until(found)


async def test_a_quota_on_requests_takes_the_pods_of_a_job_that_names_no_amounts(
    world: World, reconcile: Reconcile, until: Any
) -> None:
    await quota(world, {"requests.cpu": "64", "requests.memory": "256Gi"}, until)
    await world.create_secret()
    await world.create_job()
    await reconcile(world)
    await world.run_pods()
    assert len(await world.pods()) == sum((await world.sizes()).values()) == 5


async def test_a_quota_on_limits_takes_the_worker_too(
    world: World, reconcile: Reconcile, until: Any
) -> None:
    await quota(world, HARD, until)
    await world.create_secret()
    limited: Any = {"template": LIMITS}
    await world.create_job(trainer=limited, rollout=limited, userModel=limited, coordinator=limited)
    await reconcile(world)
    await world.run_pods()
    assert len(await world.pods()) == sum((await world.sizes()).values()) == 5


async def test_pods_that_a_quota_refuses_for_good_stall_with_its_words_and_heal(
    world: World, reconcile: Reconcile, until: Any
) -> None:
    await quota(world, HARD, until)
    await world.create_secret()
    limited: Any = {"template": LIMITS}
    await world.create_job(trainer=limited, rollout=limited, userModel=limited)
    await reconcile(world)
    words = "failed quota: team: must specify limits.cpu for: coordinator"
    stalled = await told(world, reconcile, "Stalled", words, until)
    assert (stalled["status"], stalled["reason"]) == ("True", "PodsForbidden")
    assert (
        f"StatefulSet {world.namespace}/j-coordinator may not make its pods" in stalled["message"]
    )
    assert "spec.coordinator.template" in stalled["message"]
    assert words in (await world.condition("Ready"))["message"]
    await world.edit(coordinator={"template": LIMITS})
    await reconcile(world)
    await world.run_pods()
    await reconcile(world)
    assert (await world.condition("Stalled"))["status"] == "False"


async def test_pods_that_wait_for_a_quota_in_use_are_explained_and_stall_nothing(
    world: World, reconcile: Reconcile, until: Any
) -> None:
    await quota(world, {"pods": "5"}, until)
    other = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "other"},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    await world.client.create(POD, world.namespace, other)
    await world.create_secret()
    await world.create_job()
    await reconcile(world)
    ready = await told(world, reconcile, "Ready", "exceeded quota: team, requested: pods=1", until)
    assert ready["reason"] == "PodsNotReady"
    assert (await world.condition("Stalled"))["status"] == "False"


async def test_pods_that_a_security_level_forbids_stall_with_its_words(
    world: World, reconcile: Reconcile, until: Any
) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    path = NAMESPACE.path(None, world.namespace)
    merged = "application/merge-patch+json"
    await world.client.request("PATCH", path, [], {"metadata": {"labels": labels}}, merged)
    await world.create_secret()
    patch = {"spec": {"hostNetwork": True}}
    await world.create_job(rollout={"template": {"patch": patch}})
    await reconcile(world)
    stalled = await told(world, reconcile, "Stalled", "violates PodSecurity", until)
    assert stalled["reason"] == "PodsForbidden"
    assert "spec.rollout.template, spec.rollout.worker" in stalled["message"]
    # The others are within the level as they are.
    names = {pod["metadata"]["name"] for pod in await world.pods()}
    assert names == {"j-coordinator-0", "j-trainer-0", "j-trainer-1", "j-user-0"}


async def test_a_job_of_another_manager_is_left_alone(
    world: World, reconcile: Reconcile, recorder: Recorder
) -> None:
    await world.create_secret()
    await world.create_job(managedBy="kueue.x-k8s.io/multikueue")
    assert await reconcile(world) is None
    assert recorder.writes == []
    assert await world.sizes() == {}


async def test_a_queue_of_the_job_is_not_copied_to_its_pods(
    world: World, reconcile: Reconcile, until: Any
) -> None:
    """Kueue would gate them one by one, and a trainer waits for all of its pods."""
    await world.create_secret()
    await world.create_job()
    label = {"kueue.x-k8s.io/queue-name": "team"}
    await world.patch(JOB, "j", {"metadata": {"labels": label}})
    await reconcile(world)
    await world.run_pods()
    sets = await world.client.list(STATEFUL_SET, world.namespace, "")
    assert "kueue" not in str(sets)
    assert "kueue" not in str(await world.pods())


async def test_a_job_with_the_longest_name_gets_all_of_its_pods(
    world: World, reconcile: Reconcile
) -> None:
    """Kubernetes puts names of sets and pods into labels of at most 63 characters."""
    name = "j" * 40
    await world.create_secret()
    await world.create_job(name, coordinator={"storageClassName": "nope"})
    await reconcile(world, name)
    await world.run_pods(name)
    assert len(await world.pods(name)) == sum((await world.sizes(name)).values()) == 5


async def test_a_missing_service_account_stalls_and_its_creation_is_enough(
    world: World, reconcile: Reconcile, clock: Clock, until: Any
) -> None:
    await world.create_secret()
    patch = {"spec": {"serviceAccountName": "irsa"}}
    await world.create_job(rollout={"template": {"patch": patch}})
    await reconcile(world)
    words = f'error looking up service account {world.namespace}/irsa: serviceaccount "irsa" not'
    stalled = await told(world, reconcile, "Stalled", words, until)
    assert stalled["reason"] == "PodsForbidden"
    await world.client.create(ACCOUNT, world.namespace, ACCOUNT_BODY)

    async def made() -> Any:
        clock.ahead += REFUSED_SECONDS
        await reconcile(world)
        return len(await world.pods()) == 5

    await until(made)
    await reconcile(world)
    assert (await world.condition("Stalled"))["status"] == "False"


ADMISSION = "admissionregistration.k8s.io/v1"
POLICY = Kind(ADMISSION, "ValidatingAdmissionPolicy", "validatingadmissionpolicies")
BINDING = Kind(ADMISSION, "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings")
WEBHOOK = Kind(ADMISSION, "ValidatingWebhookConfiguration", "validatingwebhookconfigurations")
PODS = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}


@contextlib.asynccontextmanager
async def installed(world: World, *objects: tuple[Kind, dict[str, Any]]) -> AsyncIterator[None]:
    """Objects of the whole cluster that concern the world's namespace, as long as it lasts."""
    name = f"x-{world.namespace}"
    for kind, body in objects:
        head = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": {"name": name}}
        await world.client.create(kind, None, {**head, **body})
    yield
    for kind, _ in objects:
        await world.client.request("DELETE", kind.path(None, name))


async def refused(world: World, words: str, until: Any) -> None:
    """Until admission has heard of what was installed."""
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"}}
    body = {**pod, "spec": {"containers": [{"name": "c", "image": "i"}]}}

    async def is_refused() -> Any:
        try:
            await world.client.request("POST", POD.path(world.namespace), [("dryRun", "All")], body)
        except KubeError as error:
            return words in str(error)
        return False

    await until(is_refused)


async def test_an_admission_policy_stalls_the_job_with_its_own_message(
    world: World, reconcile: Reconcile, until: Any
) -> None:
    rule = "has(object.metadata.labels) && 'cost-center' in object.metadata.labels"
    message = "pods need the label cost-center"
    matched = {"namespaceSelector": _named(world), "resourceRules": [PODS]}
    checks = {
        "matchConstraints": matched,
        "validations": [{"expression": rule, "message": message}],
    }
    bound = {"policyName": f"x-{world.namespace}", "validationActions": ["Deny"]}
    async with installed(world, (POLICY, {"spec": checks}), (BINDING, {"spec": bound})):
        await refused(world, message, until)
        await world.create_secret()
        await world.create_job()
        await reconcile(world)
        stalled = await told(world, reconcile, "Stalled", message, until)
        assert stalled["reason"] == "PodsForbidden"
        patch = {"metadata": {"labels": {"cost-center": "7"}}}
        labelled: Any = {"template": {"patch": patch}}
        await world.edit(
            coordinator=labelled, trainer=labelled, rollout=labelled, userModel=labelled
        )
        await reconcile(world)
        await world.run_pods()
    await reconcile(world)
    assert (await world.condition("Stalled"))["status"] == "False"


async def test_a_webhook_that_is_down_is_explained_and_stalls_nothing(
    world: World, reconcile: Reconcile, until: Any
) -> None:
    hook = {
        "name": "down.example.com",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "timeoutSeconds": 1,
        "clientConfig": {"url": "https://127.0.0.1:9/"},
        "namespaceSelector": _named(world),
        "rules": [PODS],
    }
    words = 'failed calling webhook "down.example.com"'
    async with installed(world, (WEBHOOK, {"webhooks": [hook]})):
        await refused(world, words, until)
        await world.create_secret()
        await world.create_job()
        await reconcile(world)
        ready = await told(world, reconcile, "Ready", words, until)
        assert ready["reason"] == "PodsNotReady"
        assert (await world.condition("Stalled"))["status"] == "False"


def _named(world: World) -> dict[str, Any]:
    return {"matchLabels": {"kubernetes.io/metadata.name": world.namespace}}
