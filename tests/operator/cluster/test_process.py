"""The whole program, `python -m sea_operator`, under its own ServiceAccount and least RBAC."""

import asyncio
import json
import signal
import uuid
from pathlib import Path
from typing import Any

import pytest
import yaml

from sea_devcluster.components import api_server
from sea_devcluster.controlplane import ControlPlane
from sea_operator.kube.client import JOB, LEASE, SECRET, STATEFUL_SET, Kind
from sea_operator.leader import NAME
from sea_operator.permissions import CLUSTER, JOBS, OWN_NAMESPACE
from sea_operator.resources.build import token_of
from sea_testing.operator_process import Operator
from sea_testing.operator_world import World

pytestmark = pytest.mark.cluster

ACCOUNT = Kind("v1", "ServiceAccount", "serviceaccounts")
CLUSTER_ROLE = Kind("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles")
NAMESPACES = Kind("v1", "Namespace", "namespaces")
BINDINGS = Kind("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings")
CLUSTER_BINDING = Kind("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings")


def rules(table: Any) -> Any:
    return [
        {"apiGroups": [rule.group], "resources": [rule.resource], "verbs": list(rule.verbs)}
        for rule in table
    ]


@pytest.fixture
async def account(world: World, control_plane: ControlPlane, tmp_path: Path) -> Any:
    """A kubeconfig whose ServiceAccount may do what `permissions` says and nothing else."""
    client, name = world.client, f"op-{uuid.uuid4().hex[:8]}"
    meta = {"metadata": {"name": name}}
    await client.create(
        ACCOUNT, world.namespace, {"apiVersion": "v1", "kind": "ServiceAccount", **meta}
    )
    role = {
        "apiVersion": CLUSTER_ROLE.api_version,
        "kind": "ClusterRole",
        **meta,
        "rules": rules([*JOBS, *CLUSTER, *OWN_NAMESPACE]),
    }
    binding = {
        "apiVersion": CLUSTER_ROLE.api_version,
        "kind": "ClusterRoleBinding",
        **meta,
        "roleRef": {"apiGroup": CLUSTER_ROLE.group, "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": world.namespace}],
    }
    for kind, body in ((CLUSTER_ROLE, role), (CLUSTER_BINDING, binding)):
        await client.request("POST", kind.path(None), [], body, "application/json")
    path = ACCOUNT.path(world.namespace, name, "token")
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    answer = await client.request("POST", path, [], request, "application/json")
    file = tmp_path / "kubeconfig"
    file.write_text(kubeconfig_of(control_plane, answer["status"]["token"]))
    yield file
    for kind in (CLUSTER_ROLE, CLUSTER_BINDING):
        await client.request("DELETE", kind.path(None, name))


def kubeconfig_of(plane: Any, token: Any) -> Any:
    server = {"server": plane.url, "certificate-authority": str(plane.ca_file)}
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": server}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
    )


@pytest.fixture
async def operators(account: Any, world: World) -> Any:
    """`await operators("name")` starts one; all are ended."""
    started = []

    async def start(identity: Any = "one") -> Any:
        started.append(Operator(account, world.namespace, identity))
        return await started[-1].start()

    yield start
    for operator in started:
        await operator.stop(signal.SIGKILL)


async def holder(world: Any) -> Any:
    leases = await world.client.list(LEASE, world.namespace, "")
    return leases[0]["spec"]["holderIdentity"] if leases else None


async def test_a_job_is_walked_to_its_end_by_the_real_program(
    world: World, operators: Any, until: Any, control_plane: ControlPlane
) -> None:
    # As in OpenShift, where the operator's account may own children but block no deletion.
    enforced = "OwnerReferencesPermissionEnforcement"
    assert any(enforced in flag for flag in api_server(control_plane.layout))
    operator = await operators()

    async def elected() -> Any:
        return await holder(world) == "one"

    await until(elected)
    await world.create_secret()
    await world.create_job()

    async def all_sets() -> Any:
        return len(await world.sizes()) == 4

    await until(all_sets)
    await world.run_pods()

    async def ready() -> Any:
        return (await world.condition("Ready"))["status"] == "True"

    await until(ready)
    coordinator = world.coordinators["j"]
    coordinator.complete("sft", "rl", "eval")

    async def released() -> Any:
        return set((await world.sizes()).values()) == {0}

    await until(released)
    assert (await world.condition("Complete"))["status"] == "True"
    job = await world.job()
    assert "finalizers" not in job["metadata"]
    assert set(job["metadata"]["annotations"]) == {"argocd.argoproj.io/tracking-id"}
    await until(lambda: leads(operator))
    await until(lambda: told(world, "StageStarted", "Completed"))
    assert await operator.stop() == 0
    assert await holder(world) in ("", None), "a clean end gives the lease back"
    bad = [line for line in operator.lines if json.loads(line)["level"] in ("error", "critical")]
    # A request that a busy machine left unanswered is no error of the operator's.
    assert [line for line in bad if "UnavailableError" not in line] == []


async def told(world: Any, *reasons: Any) -> Any:
    """Whether there are Events with these reasons about a job."""
    events = await world.client.list(Kind("v1", "Event", "events"), world.namespace, "")
    found = {one["reason"] for one in events if one["involvedObject"]["kind"] == "SEATrainingJob"}
    return found >= set(reasons)


async def test_deleted_children_come_back_and_a_deleted_job_takes_them_along(
    world: World, operators: Any, until: Any
) -> None:
    await operators()
    await world.create_secret()
    job = await world.create_job()

    async def all_sets() -> Any:
        return len(await world.sizes()) == 4

    await until(all_sets)
    live = await world.client.get(STATEFUL_SET, world.namespace, "j-trainer")
    await world.client.delete(STATEFUL_SET, world.namespace, "j-trainer", live["metadata"]["uid"])

    async def back() -> Any:
        sets = await world.client.list(STATEFUL_SET, world.namespace, "sea-operator.io/job=j")
        uids = {s["metadata"]["name"]: s["metadata"]["uid"] for s in sets}
        return uids.get("j-trainer") not in (None, live["metadata"]["uid"])

    await until(back)
    again = await world.client.get(STATEFUL_SET, world.namespace, "j-trainer")
    assert again["spec"]["replicas"] == live["spec"]["replicas"]
    assert again["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]
    await world.client.delete(JOB, world.namespace, "j", job["metadata"]["uid"])

    async def nothing() -> Any:
        secrets = await world.client.list(SECRET, world.namespace, "sea-operator.io/job=j")
        return not await world.sizes() and not secrets

    await until(nothing)
    assert await world.sizes() == {}
    assert await world.token() is None
    kept = await world.client.get(SECRET, world.namespace, "s3")
    assert "ownerReferences" not in kept["metadata"], "what isn't the operator's stays"


async def test_after_kill_9_the_job_goes_on_under_the_same_identity_at_once(
    world: World, operators: Any, until: Any
) -> None:
    first = await operators("pod-0")
    await world.create_secret()
    await world.create_job()
    await until(lambda: has_sets(world))
    await world.run_pods()
    await until(lambda: was_sent(world))
    token = await world.token()
    await first.stop(signal.SIGKILL)
    # An operator that waits for the lease to expire would wait for an hour.
    await world.patch(LEASE, NAME, {"spec": {"leaseDurationSeconds": 3600}})
    world.coordinators["j"].complete("sft", running="rl")
    await operators("pod-0")
    await until(lambda: was_sent(world, 1))
    assert await world.token() == token
    assert (await world.status())["trainerAttempt"] == 1


async def has_sets(world: Any) -> Any:
    return len(await world.sizes()) == 4


async def was_sent(world: Any, index: Any = 0) -> Any:
    specs = world.coordinators["j"].specs
    return bool(specs) and specs[-1].stage_index == index


async def test_a_standby_does_nothing_and_takes_over_when_the_leader_dies(
    world: World, operators: Any, until: Any
) -> None:
    both = {name: await operators(name) for name in ("one", "two")}
    await world.create_secret()
    await world.create_job()
    await until(lambda: has_sets(world))
    names = await until(lambda: leader_and_standby(world, both))
    await both[names[0]].stop(signal.SIGKILL)
    # The standby goes by the duration in the record: it needn't be waited for.
    await world.patch(LEASE, NAME, {"spec": {"leaseDurationSeconds": 1}})
    await world.create_job("second")

    async def taken() -> Any:
        return len(await world.sizes("second")) == 4

    await until(taken)
    assert await holder(world) == names[1]


# What may hang or fail in a process that holds the lease.
WORKERS_FAIL = """
from sea_operator.workers import Workers
async def fail(self):
    await self._gate.wait()
    raise RuntimeError("a bug")
Workers.run = fail
"""
PASSES_HANG = """
import asyncio
from sea_operator import main, workers
workers.STUCK_SECONDS, workers.LOOK_SECONDS = 0.1, 0.05
async def hang(self, key):
    await asyncio.Event().wait()
main.Reconciler.__call__ = hang
"""
PART_IGNORES_ITS_END = """
import asyncio
from sea_operator import main, workers
main.EXIT_SECONDS = 5.0  # long enough to give the lease back on a busy machine
async def deaf(self):
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass
workers.Workers.run = deaf
"""
KOPF_HANGS = """
import time
import kopf
from sea_operator import kopf_watch
kopf_watch.STOP_SECONDS = 0.1
async def hang(**_):
    time.sleep(3600)
kopf.operator = hang
"""


@pytest.mark.parametrize(
    ("program", "signal_", "code"),
    [
        (WORKERS_FAIL, None, 1),
        (PASSES_HANG, None, 1),
        (PART_IGNORES_ITS_END, signal.SIGTERM, 1),
        (KOPF_HANGS, signal.SIGTERM, 0),
    ],
    ids=["workers-fail", "passes-hang", "a-part-ignores-its-end", "kopf-hangs"],
)
async def test_the_lease_never_outlives_the_workers(
    world: World, account: Path, until: Any, program: str, signal_: int | None, code: int
) -> None:
    await world.create_job()
    operator = await Operator(account, world.namespace, "one", program=program).start()
    try:
        assert operator.process is not None
        if signal_ is not None:

            async def led() -> bool:
                return await holder(world) == "one"

            await until(led)
            operator.process.send_signal(signal_)
        assert await asyncio.wait_for(operator.process.wait(), 120) == code
        assert await holder(world) == "", "its successor needn't wait"
    finally:
        await operator.stop(signal.SIGKILL)


async def leader_and_standby(world: Any, both: Any) -> Any:
    """Their names, once the holder of the lease says that it leads and the other that it doesn't.

    Which of them it is may change on a machine that stands still for the length of a lease.
    """
    name = await holder(world)
    others = [other for other in both if other != name]
    if name not in both or not await leads(both[name]):
        return None
    return None if await leads(both[others[0]]) is not False else (name, others[0])


async def leads(operator: Any) -> Any:
    """What it says of itself; None while it doesn't answer."""
    try:
        return (await asyncio.to_thread(operator.health))["operator"]["leads"]
    except OSError:
        return None


async def test_many_jobs_at_once_are_all_served_and_counted(
    world: World, operators: Any, until: Any
) -> None:
    operator = await operators()
    await world.create_secret()
    names = [f"m{i}" for i in range(20)]
    await asyncio.gather(*(world.create_job(name) for name in names))

    async def all_have_tokens() -> Any:
        sets = await world.client.list(STATEFUL_SET, world.namespace, "sea-operator.io/job")
        return len(sets) == 4 * len(names)

    await until(all_have_tokens, within=400)
    secret = await world.client.get(SECRET, world.namespace, "m0-auth")
    assert token_of(secret)

    async def metrics_show_all() -> Any:
        text = await asyncio.to_thread(operator.metrics)
        return text if text.count("sea_job_state{") == len(names) else None

    text = await until(metrics_show_all)
    m0 = f'job_name="m0",job_namespace="{world.namespace}"'
    assert f'sea_job_pods{{{m0},role="rollout"}} 1.0' in text
    assert "sea_operator_leader 1.0" in text
    assert 'sea_operator_passes_total{outcome="done"}' in text


async def test_a_namespace_that_refuses_concerns_its_own_jobs_alone(
    world: World, second_world: World, control_plane: ControlPlane, tmp_path: Path, until: Any
) -> None:
    """Neither when the operator starts, nor when a RoleBinding goes under it."""
    other = second_world
    name = await narrow_account(world)
    await bind(world, name, world.namespace)
    file = await login(world, control_plane, name, tmp_path)
    operator = await Operator(file, world.namespace, "one", other.namespace).start()
    try:
        await world.create_secret()
        await world.create_job()
        await until(lambda: has_sets(world))
        await bind(other, name, world.namespace)
        await other.create_secret()
        await other.create_job()
        await until(lambda: has_sets(other))
        path = BINDINGS.path(other.namespace, name)
        await world.client.request("DELETE", path)

        async def noticed() -> bool:
            words = f"jobs of namespace {other.namespace} can't be watched"
            since = [line for line in operator.lines if words in line]
            return len(since) >= 2  # the first is of the start

        await until(noticed)
        await world.edit(rollout={"replicas": 2})

        async def observed() -> bool:
            return (await world.sizes())["j-rollout"] == 2

        await until(observed)
        assert await leads(operator)
        assert await operator.stop() == 0
    finally:
        await operator.stop(signal.SIGKILL)
        for gone in (NAMESPACES.path(None, other.namespace), CLUSTER_ROLE.path(None, name)):
            await world.client.request("DELETE", gone)


async def narrow_account(world: World) -> str:
    """A ServiceAccount, and a ClusterRole of the same name that nothing binds yet."""
    name = f"op-{uuid.uuid4().hex[:8]}"
    meta = {"metadata": {"name": name}}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", **meta}
    await world.client.create(ACCOUNT, world.namespace, account)
    typed = {"apiVersion": CLUSTER_ROLE.api_version, "kind": "ClusterRole"}
    role = {**typed, **meta, "rules": rules([*JOBS, *OWN_NAMESPACE])}
    await world.client.request("POST", CLUSTER_ROLE.path(None), [], role)
    return name


async def bind(world: World, name: str, account_namespace: str) -> None:
    """Lets the account serve the world's namespace."""
    subject = {"kind": "ServiceAccount", "name": name, "namespace": account_namespace}
    binding = {
        "apiVersion": BINDINGS.api_version,
        "kind": "RoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": CLUSTER_ROLE.group, "kind": "ClusterRole", "name": name},
        "subjects": [subject],
    }
    await world.client.create(BINDINGS, world.namespace, binding)


async def login(world: World, plane: ControlPlane, name: str, folder: Path) -> Path:
    path = ACCOUNT.path(world.namespace, name, "token")
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    answer = await world.client.request("POST", path, [], request)
    file = folder / "kubeconfig"
    file.write_text(kubeconfig_of(plane, answer["status"]["token"]))
    return file
