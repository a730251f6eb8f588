"""Probes of the trainer pod: `/healthz` and `/readyz` on the pod's own address."""

from collections.abc import Callable

from aiohttp import web

from sea_api.contract import TRAINER_HEALTH_PORT


async def serve(
    address: str, ready: Callable[[], bool], port: int = TRAINER_HEALTH_PORT
) -> web.AppRunner:
    """Starts answering; `ready` is asked at every probe. Clean the runner up at the end."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def readyz(_: web.Request) -> web.Response:
        if ready():
            return web.Response(text="ok")
        return web.Response(status=503, text="training processes haven't joined")

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, address, port).start()
    return runner
