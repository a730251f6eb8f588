"""`/healthz` and `/readyz` of a worker, on the pod's own address."""

from aiohttp import web

from sea_api.contract import WORKER_PORT
from sea_runtime.rollout.engine_state import EngineState


def application(state: EngineState) -> web.Application:
    """Ready exactly when the engine serves a version that it may serve."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def readyz(_: web.Request) -> web.Response:
        text = f"serves {state.version}, required is {state.required}"
        return web.Response(text=text, status=200 if state.ready else 503)

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    return app


async def serve(state: EngineState, host: str, port: int = WORKER_PORT) -> web.AppRunner:
    """Starts listening; the caller cleans the runner up."""
    runner = web.AppRunner(application(state), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner
