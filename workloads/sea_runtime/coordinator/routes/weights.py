"""Calls about weight versions: rank 0 publishes, workers wait and report."""

import asyncio

from aiohttp import web

from sea_runtime.coordinator import weights
from sea_runtime.coordinator.ledger import registry
from sea_runtime.coordinator.routes.common import body, core_of, done, number, reply, seconds
from sea_runtime.wire.weights import Adopted, WeightVersion

LONGEST_WAIT_S = 10.0


async def publish(request: web.Request) -> web.Response:
    core, version = core_of(request), await body(request, WeightVersion)
    weights.publish(core, version)
    if registry.is_anchor(version):
        await asyncio.to_thread(weights.keep_anchor, core, version)
    return done()


async def newer(request: web.Request) -> web.Response:
    core, stream = core_of(request), request.match_info["stream"]
    weights.require_stream(stream)
    after = number(request, "after")
    wait = seconds(request, "wait", LONGEST_WAIT_S)
    found = await core.bells.weights.until(lambda: weights.query(core, stream, after), wait)
    return reply(found or weights.nothing_newer(core, stream))


async def adopted(request: web.Request) -> web.Response:
    message = await body(request, Adopted)
    weights.adopted(core_of(request), request.match_info["stream"], message)
    return done()


def routes() -> list[web.RouteDef]:
    return [
        web.post("/v1/weights/{stream}", publish),
        web.get("/v1/weights/{stream}", newer),
        web.post("/v1/weights/{stream}/adopted", adopted),
    ]
