"""`python -m sea_runtime.trainer`: the trainer pod's entry point: the supervisor and its probes."""

import asyncio
import signal
from collections.abc import Callable

from aiohttp import web

from sea_api import logs
from sea_api.contract import TRAINER_HEALTH_PORT
from sea_runtime.trainer.context import PodSettings
from sea_runtime.trainer.supervisor import Supervisor


async def serve_probes(address: str, ready: Callable[[], bool]) -> web.AppRunner:
    """Answers `/healthz` and `/readyz` on the pod's own address.

    Args:
        ready: called on every readiness probe.

    Returns:
        The runner; the caller cleans it up.
    """

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def readyz(_: web.Request) -> web.Response:
        if ready():
            return web.Response(text="ok")
        return web.Response(status=503, text="The training processes have not joined.")

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, address, TRAINER_HEALTH_PORT).start()
    return runner


async def main() -> None:
    settings = PodSettings.from_environment()
    supervisor = Supervisor(settings)
    loop = asyncio.get_running_loop()
    # Both end `run`, which kills the processes. A signal must not end this program before them.
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.stop)
    # Probes first: an address that can't be bound must fail before any process is started.
    runner = await serve_probes(settings.address, lambda: supervisor.ready)
    try:
        await supervisor.run()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    logs.configure_pod()
    asyncio.run(main())
