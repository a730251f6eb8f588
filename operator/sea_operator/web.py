"""The operator's HTTP server: `/healthz` for probes, `/metrics` for Prometheus."""

import contextlib
from collections.abc import Awaitable, Callable

from aiohttp import web

from sea_operator import metrics
from sea_operator.lease_thread import LeaseThread
from sea_operator.settings import Settings


async def serve(
    stack: contextlib.AsyncExitStack,
    settings: Settings,
    elector: LeaseThread,
    scraped: Callable[[], Awaitable[bytes]],
) -> None:
    """Serves until `stack` ends; `scraped` returns the page of metrics.

    From the loop that does the work: `/healthz` answers as long as that loop runs.
    """

    async def healthz(_: web.Request) -> web.Response:
        found = {"identity": settings.identity, "leads": elector.leads}
        return web.json_response({"operator": found})

    async def metrics_page(_: web.Request) -> web.Response:
        return web.Response(body=await scraped(), headers={"Content-Type": metrics.CONTENT_TYPE})

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/metrics", metrics_page)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, settings.health_host, settings.health_port).start()
