"""The cluster that `operator_load.py` measures an operator in, and what somebody else sees there.

A real API server, etcd, controller manager and scheduler on this machine; kwok's nodes, on which
pods run as `kwok.yaml` says; coordinators pretended by `operator_coordinators.py`; the operator and
a kopf operator that does nothing (`operator_child.py`). The operator has a ServiceAccount of its
own, by which the API server's audit log counts its requests.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import psutil
import yaml
from operator_seen import NAMESPACE, Seen, TooSlowError, watch

from sea_api.contract import JOB_LABEL
from sea_api.v1alpha1.job import GROUP, KIND, VERSION
from sea_devcluster.build import KWOK, find_or_build_tool
from sea_devcluster.components import API_SERVER, ARGUMENTS, CONTROLLER_MANAGER, ETCD, SCHEDULER
from sea_devcluster.controlplane import ControlPlane
from sea_devcluster.ports import free_ports
from sea_operator.errors import KubeError, NotFoundError
from sea_operator.kube.client import JOB, LEASE, POD, SECRET, STATEFUL_SET, Kind, KubeClient
from sea_operator.kube.connection import Connection

FOLDER = Path(__file__).parent
ACCOUNT = "operator"
USER = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"
NAMESPACES = Kind("v1", "Namespace", "namespaces")
NODES = Kind("v1", "Node", "nodes")
ACCOUNTS = Kind("v1", "ServiceAccount", "serviceaccounts")
BINDINGS = Kind("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings")
NODE_COUNT = 20
MERGE = "application/merge-patch+json"
CRD = FOLDER.parent / "crds" / "sea-operator.io_seatrainingjobs.yaml"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CREATORS = 8
KWOK_ARGUMENTS = (
    f"--config={FOLDER / 'kwok.yaml'}",
    "--manage-all-nodes=true",
    "--node-lease-duration-seconds=40",
    "-v=ERROR",
)
AUDIT = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [{"level": "Metadata", "users": [USER]}, {"level": "None"}],
}
"""The operator's requests and nobody else's; a watch counts when it ends."""


class Requests:
    """The operator's requests, as the API server's audit log has them."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._offset = 0

    def since_last(self) -> Counter[str]:
        """Requests since the last call, by verb and resource."""
        if not self._log.exists():
            return Counter()
        with self._log.open("rb") as file:
            file.seek(self._offset)
            # Not a line that is being written.
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._offset += len(whole)
        return Counter(_name(orjson.loads(line)) for line in whole.splitlines())


def _name(event: dict[str, Any]) -> str:
    about = event.get("objectRef", {})
    sub = f"/{about['subresource']}" if about.get("subresource") else ""
    return f"{event['verb']} {about.get('resource', event['requestURI'])}{sub}"


@contextlib.contextmanager
def control_plane() -> Iterator[tuple[ControlPlane, Requests]]:
    """Controller manager and scheduler may send 500 requests per second, and 20 StatefulSets get
    their pods at one time: the defaults of 20, 50 and 5 would bound the creation of pods, whatever
    the operator does."""
    before = dict(ARGUMENTS)
    faster = ["--kube-api-qps=500", "--kube-api-burst=1000"]
    with tempfile.TemporaryDirectory() as folder:
        policy, log = Path(folder) / "audit.yaml", Path(folder) / "audit.log"
        policy.write_text(yaml.safe_dump(AUDIT))
        audit = [f"--audit-policy-file={policy}", f"--audit-log-path={log}"]
        syncs = [*faster, "--concurrent-statefulset-syncs=20"]
        more = {CONTROLLER_MANAGER: syncs, SCHEDULER: faster, API_SERVER: audit}
        for name, added in more.items():
            usual = before[name]
            ARGUMENTS[name] = lambda layout, usual=usual, added=added: [*usual(layout), *added]  # type: ignore[misc]
        try:
            components = (ETCD, API_SERVER, CONTROLLER_MANAGER, SCHEDULER)
            with ControlPlane(Path(folder) / "plane", components=components) as plane:
                yield plane, Requests(log)
        finally:
            ARGUMENTS.update(before)


@contextlib.contextmanager
def process(program: str, *arguments: str, **more: Any) -> Iterator[subprocess.Popen[str]]:
    """A child that ends with the block."""
    child = subprocess.Popen([program, *arguments], text=True, **more)
    try:
        yield child
    finally:
        child.kill()
        child.wait()


async def prepare(client: KubeClient) -> None:
    """The CRD, kwok's nodes, the namespace and the Secret of all jobs."""
    await client.request("POST", CRDS, [], yaml.safe_load(CRD.read_text()))
    meta = {"metadata": {"name": NAMESPACE}}
    await client.create(NAMESPACES, None, {"apiVersion": "v1", "kind": "Namespace", **meta})
    for i in range(NODE_COUNT):
        # Without a range of its own kwok logs an error about each pod that it starts there.
        node = {"metadata": {"name": f"kwok-{i}"}, "spec": {"podCIDR": f"10.0.{i}.0/24"}}
        await client.create(NODES, None, {"apiVersion": "v1", "kind": "Node", **node})
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s3"}}
    await client.create(SECRET, NAMESPACE, {**secret, "stringData": keys})
    for _ in range(60):
        try:
            await client.page(JOB, NAMESPACE, "")
        except KubeError:
            await asyncio.sleep(0.5)
        else:
            return
    raise SystemExit("The API server doesn't serve the CRD after 30 s.")


async def login(client: KubeClient, plane: ControlPlane, folder: Path) -> Path:
    """A kubeconfig with the operator's ServiceAccount, which may do everything."""
    meta = {"metadata": {"name": ACCOUNT}}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", **meta}
    await client.create(ACCOUNTS, NAMESPACE, account)
    binding = {
        "apiVersion": BINDINGS.api_version,
        "kind": BINDINGS.name,
        **meta,
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "cluster-admin",
        },
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": NAMESPACE}],
    }
    await client.create(BINDINGS, None, binding)
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"}
    path = ACCOUNTS.path(NAMESPACE, ACCOUNT, "token")
    answer = await client.request("POST", path, [], {**request, "spec": {}})
    config = yaml.safe_load(plane.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": answer["status"]["token"]}
    file = folder / "operator.kubeconfig"
    file.write_text(yaml.safe_dump(config))
    return file


async def leads(client: KubeClient) -> None:
    """Waits until the operator holds its lease."""
    for _ in range(240):
        with contextlib.suppress(NotFoundError):
            lease = await client.get(LEASE, NAMESPACE, "sea-operator")
            if lease["spec"].get("holderIdentity"):
                return
        await asyncio.sleep(0.5)
    raise SystemExit("The operator doesn't hold its lease after 120 s.")


async def create(client: KubeClient, names: list[str], spec: dict[str, Any]) -> None:
    """Jobs, some at a time."""
    left = iter(names)

    async def some() -> None:
        for name in left:
            kind = {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND}
            await client.create(JOB, NAMESPACE, {**kind, "metadata": {"name": name}, "spec": spec})

    await asyncio.gather(*(some() for _ in range(CREATORS)))


async def delete(client: KubeClient, job: str) -> None:
    """A job; returns when its StatefulSets, some of which may not have made pods yet, and its last
    pod have gone."""
    await client.request("DELETE", JOB.path(NAMESPACE, job))
    selector = f"{JOB_LABEL}={job}"
    for _ in range(600):
        lists = [await client.list(kind, NAMESPACE, selector) for kind in (STATEFUL_SET, POD)]
        if not any(lists):
            return
        await asyncio.sleep(0.1)
    raise TooSlowError(f"{job} has StatefulSets or pods a minute after its deletion.")


async def set_unready(client: KubeClient, pod: str) -> None:
    """Says of a pod that it isn't ready any more."""
    conditions = [{"type": "Ready", "status": "False"}]
    path = POD.path(NAMESPACE, pod, "status")
    await client.request("PATCH", path, [], {"status": {"conditions": conditions}}, MERGE)


@dataclass
class Cluster:
    """One control plane with its processes."""

    client: KubeClient
    seen: Seen
    requests: Requests
    operator: psutil.Process
    noop: psutil.Process


@contextlib.asynccontextmanager
async def started(python: str) -> AsyncIterator[Cluster]:
    """A fresh control plane with all processes; `python` runs the operator."""
    with (
        control_plane() as (plane, requests),
        contextlib.ExitStack() as stack,
        tempfile.TemporaryDirectory() as folder,
    ):
        os.environ["KUBECONFIG"] = str(plane.kubeconfig)
        client = KubeClient(await Connection.open())
        seen = Seen()
        await prepare(client)
        admin = {**os.environ}
        # To a file: it reports each pod that the garbage collector deletes before it does.
        words = stack.enter_context((Path(folder) / "kwok.log").open("w"))
        kwok = str(find_or_build_tool(KWOK))
        stack.enter_context(process(kwok, *KWOK_ARGUMENTS, env=admin, stderr=words))
        script = str(FOLDER / "operator_coordinators.py")
        coordinators = stack.enter_context(
            process(sys.executable, script, env=admin, stdout=subprocess.PIPE)
        )
        assert coordinators.stdout is not None
        url = coordinators.stdout.readline().strip()
        watchers = [
            asyncio.create_task(watch(client, STATEFUL_SET, seen.take_set, seen)),
            asyncio.create_task(watch(client, JOB, seen.take_job, seen)),
        ]
        own = {
            **admin,
            "KUBECONFIG": str(await login(client, plane, Path(folder))),
            "HEALTH_PORT": str(free_ports(("127.0.0.1",), 1)[0]),
        }
        child = str(FOLDER / "operator_child.py")
        operator = stack.enter_context(process(python, "-P", child, "operator", url, env=own))
        server = (plane.url, str(plane.ca_file), plane.token)
        noop = stack.enter_context(process(python, "-P", child, "noop", *server))
        await leads(client)
        await asyncio.sleep(5.0)  # the other one lists
        try:
            yield Cluster(
                client, seen, requests, psutil.Process(operator.pid), psutil.Process(noop.pid)
            )
        finally:
            for task in watchers:
                task.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)
            await client.close()
