"""What benchmarks and the demo read."""

from aiohttp import web

from sea_runtime.coordinator import timeline
from sea_runtime.coordinator.routes.common import core_of


async def get_timeline(request: web.Request) -> web.Response:
    return web.json_response(timeline.spans(core_of(request).ledger))


async def metrics(request: web.Request) -> web.Response:
    text = timeline.metric_lines(core_of(request).ledger)
    return web.Response(text=text, content_type="application/jsonl")


def routes() -> list[web.RouteDef]:
    return [web.get("/v1/timeline", get_timeline), web.get("/v1/metrics.jsonl", metrics)]
