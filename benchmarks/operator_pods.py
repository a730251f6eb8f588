"""What `operator_load.py` pretends: the kubelet's word that pods run, and a coordinator per job.

No node and no scheduler is there, since neither is measured: pods get an address and the condition
Ready a moment after the StatefulSet controller made them. All coordinators are one HTTP server in
which the first part of the path is the job.
"""

import asyncio
import contextlib
import json
from typing import Any

from aiohttp import web

from sea_api.contract import JOB_LABEL
from sea_operator.errors import ExpiredError, KubeError, NotFoundError
from sea_operator.kube import client as kube_client
from sea_operator.kube.client import POD, KubeClient
from sea_operator.kube.connection import Connection

NAMESPACE = "bench"
PATCHES = 16
"""Status updates at one time."""
MERGE = "application/merge-patch+json"


def pod_status(ready: bool) -> dict[str, Any]:
    """Status of a pod that runs."""
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    address = "127.0.0.1"
    return {
        "status": {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [condition],
        }
    }


async def set_ready(client: KubeClient, pod: str, *, ready: bool) -> None:
    """Says of a pod whether it is ready."""
    with contextlib.suppress(NotFoundError):
        path = POD.path(NAMESPACE, pod, "status")
        await client.request("PATCH", path, [], pod_status(ready), MERGE)


class Coordinators:
    """One server for all jobs: `GET /JOB/v1/state`, `PUT /JOB/v1/spec`."""

    def __init__(self) -> None:
        self._states: dict[str, dict[str, Any]] = {}

    async def start(self) -> str:
        app = web.Application()
        app.router.add_get("/{job}/v1/state", self._get)
        # The last path is what operators before November 2026 used.
        app.router.add_put("/{job}/v1/spec", self._put("specDigest"))
        app.router.add_put("/{job}/v1/desired", self._put("desiredDigest"))
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    async def _get(self, request: web.Request) -> web.Response:
        state = self._states.get(request.match_info["job"], {"stages": []})
        return web.Response(text=json.dumps(state))

    def _put(self, field: str) -> Any:
        async def put(request: web.Request) -> web.Response:
            spec = await request.json()
            stage = {"name": spec["spec"]["stages"][0]["name"], "phase": "Running"}
            self._states[request.match_info["job"]] = {
                field: spec["digest"],
                "uid": spec["uid"],
                "attempt": spec["attempt"],
                "stages": [{**stage, "step": 1, "totalSteps": 100}],
            }
            return web.Response(status=204)

        return put


class Kubelet:
    """Makes each new pod ready, once."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._slots = asyncio.Semaphore(PATCHES)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                with contextlib.suppress(ExpiredError):
                    page = await self._client.page(POD, NAMESPACE, JOB_LABEL)
                    version = page.version
                    while True:
                        version = await self._watch(group, version)

    async def _watch(self, group: asyncio.TaskGroup, version: str) -> str:
        async for type_, live in self._client.watch(POD, NAMESPACE, JOB_LABEL, version):
            version = live["metadata"]["resourceVersion"]
            if type_ == "ADDED" and "podIP" not in live.get("status", {}):
                group.create_task(self._ready(live["metadata"]["name"]))
        return version

    async def _ready(self, name: str) -> None:
        async with self._slots:
            for _ in range(5):
                try:
                    await set_ready(self._client, name, ready=True)
                except KubeError:
                    await asyncio.sleep(1.0)
                else:
                    return


async def serve() -> None:
    """Until killed; the first line on standard output is the coordinators' URL."""
    kube_client.TIMEOUT_SECONDS = 120.0
    url = await Coordinators().start()
    print(url, flush=True)
    await Kubelet(KubeClient(await Connection.open())).run()


if __name__ == "__main__":
    asyncio.run(serve())
