"""What every pod calls: heartbeat, base model."""

from aiohttp import web

from sea_runtime.coordinator import heartbeats, weights
from sea_runtime.coordinator.errors import NotReadyError
from sea_runtime.coordinator.routes.common import body, core_of, reply
from sea_runtime.wire.membership import Heartbeat


async def heartbeat(request: web.Request) -> web.Response:
    return reply(heartbeats.heard(core_of(request), await body(request, Heartbeat)))


async def model(request: web.Request) -> web.Response:
    found = weights.model(core_of(request), request.query.get("stream", ""))
    if found is None:
        raise NotReadyError("The base model is being prepared. Ask again.")
    return reply(found)


def routes() -> list[web.RouteDef]:
    return [web.post("/v1/heartbeat", heartbeat), web.get("/v1/model", model)]
