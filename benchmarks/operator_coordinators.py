"""The coordinators of all jobs that `operator_load.py` creates: one HTTP server, in which the first
part of the path is the job. It answers as a coordinator whose first stage runs; those of jobs whose
name begins with `silent` accept connections and don't answer in time.
"""

import asyncio
import json
from typing import Any

from aiohttp import web


class Coordinators:
    """One server for all jobs: `GET /JOB/v1/state`, `PUT /JOB/v1/spec`."""

    def __init__(self) -> None:
        self._states: dict[str, dict[str, Any]] = {}

    async def start(self) -> str:
        app = web.Application()
        app.router.add_get("/{job}/v1/state", self._get)
        # The last path is what operators asked for before the packages were split.
        app.router.add_put("/{job}/v1/spec", self._put("specDigest"))
        app.router.add_put("/{job}/v1/desired", self._put("desiredDigest"))
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    async def _get(self, request: web.Request) -> web.Response:
        if request.match_info["job"].startswith("silent"):
            await asyncio.sleep(60)
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
                "prepared": True,
                "stages": [{**stage, "step": 1, "totalSteps": 100}],
            }
            return web.Response(status=204)

        return put


async def serve() -> None:
    """Serves until killed; the first line on standard output is the coordinators' URL."""
    print(await Coordinators().start(), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
