"""What every pod calls: heartbeat, base model; and the calls about weight versions."""

import asyncio

from aiohttp import web

from sea_runtime.coordinator.errors import NotReadyError
from sea_runtime.coordinator.heartbeats import Heartbeats
from sea_runtime.coordinator.ledger import registry
from sea_runtime.coordinator.notifier import Notifier
from sea_runtime.coordinator.preconditions import Preconditions
from sea_runtime.coordinator.routes.common import body, done, number, reply, seconds
from sea_runtime.coordinator.weights import WeightRegistry, require_stream
from sea_runtime.wire.membership import Heartbeat
from sea_runtime.wire.weights import Adopted, WeightVersion

HEARTBEATS = web.AppKey("heartbeats", Heartbeats)
PRECONDITIONS = web.AppKey("preconditions", Preconditions)
WEIGHTS = web.AppKey("weights", WeightRegistry)
PUBLISHED = web.AppKey("published", Notifier)

MAX_WAIT_SECONDS = 10.0


async def heartbeat(request: web.Request) -> web.Response:
    return reply(request.app[HEARTBEATS].heard(await body(request, Heartbeat)))


async def model(request: web.Request) -> web.Response:
    found = request.app[PRECONDITIONS].model(request.query.get("stream", ""))
    if found is None:
        raise NotReadyError("The base model is being prepared. Ask again.")
    return reply(found)


async def publish(request: web.Request) -> web.Response:
    weights, version = request.app[WEIGHTS], await body(request, WeightVersion)
    weights.publish(version)
    if registry.is_anchor(version):
        await asyncio.to_thread(weights.keep_anchor, version)
    return done()


async def newer(request: web.Request) -> web.Response:
    weights, stream = request.app[WEIGHTS], request.match_info["stream"]
    require_stream(stream)
    after = number(request, "after")
    wait = seconds(request, "wait", MAX_WAIT_SECONDS)
    found = await request.app[PUBLISHED].first(lambda: weights.query(stream, after), wait)
    return reply(found or weights.nothing_newer(stream))


async def adopted(request: web.Request) -> web.Response:
    message = await body(request, Adopted)
    request.app[WEIGHTS].adopted(request.match_info["stream"], message)
    return done()


def routes() -> list[web.RouteDef]:
    return [
        web.post("/v1/heartbeat", heartbeat),
        web.get("/v1/model", model),
        web.post("/v1/weights/{stream}", publish),
        web.get("/v1/weights/{stream}", newer),
        web.post("/v1/weights/{stream}/adopted", adopted),
    ]
