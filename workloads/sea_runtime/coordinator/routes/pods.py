"""What pods call: heartbeat, base model, weight versions, and the worker's leases."""

import asyncio

import msgspec
from aiohttp import web

from sea_runtime.client import calls
from sea_runtime.coordinator.errors import NotReadyError, RefusedError, StaleError
from sea_runtime.coordinator.heartbeats import Heartbeats
from sea_runtime.coordinator.leases import require_sound
from sea_runtime.coordinator.ledger import registry
from sea_runtime.coordinator.ledger.episodes import Worker
from sea_runtime.coordinator.notifier import Notifier
from sea_runtime.coordinator.preconditions import Preconditions
from sea_runtime.coordinator.routes.common import body, done, number, reply, seconds
from sea_runtime.coordinator.scheduler import Scheduler
from sea_runtime.coordinator.weights import WeightRegistry, require_stream
from sea_runtime.wire.base import Message
from sea_runtime.wire.membership import Heartbeat
from sea_runtime.wire.rollouts import EpisodeResult, LeaseRequest, Leases
from sea_runtime.wire.weights import Adopted, WeightVersion

SCHEDULER = web.AppKey("scheduler", Scheduler)
LEASABLE = web.AppKey("leasable", Notifier)

HEARTBEATS = web.AppKey("heartbeats", Heartbeats)
PRECONDITIONS = web.AppKey("preconditions", Preconditions)
WEIGHTS = web.AppKey("weights", WeightRegistry)
PUBLISHED = web.AppKey("published", Notifier)

MAX_WAIT_SECONDS = 10.0
NOT_YOURS = "The lease is not this worker's any more. Forget the episode."


class Release(Message):
    pod: str
    incarnation: str


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
        # Before the answer: rank 0 repeats the call until it is acknowledged, so a kill in between
        # can't leave an anchor that a lost ledger would not find again.
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


async def lease(request: web.Request) -> web.Response:
    scheduler, wanted = request.app[SCHEDULER], await body(request, LeaseRequest)
    found = await request.app[LEASABLE].first(
        lambda: scheduler.lease(wanted), calls.LEASE_WAIT_SECONDS
    )
    return reply(found or Leases(leases=[]))


async def result(request: web.Request) -> web.Response:
    try:
        episode = msgspec.msgpack.decode(await request.read(), type=EpisodeResult)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError(f"The body is not an EpisodeResult in msgpack: {error}") from error
    if episode.lease_id != request.match_info["lease"]:
        raise RefusedError("The lease in the path is not the one in the body.")
    require_sound(episode)
    if not request.app[SCHEDULER].result(episode):
        raise StaleError(NOT_YOURS)
    return done()


async def release(request: web.Request) -> web.Response:
    message = await body(request, Release)
    worker = Worker(message.pod, message.incarnation)
    if not request.app[SCHEDULER].release(request.match_info["lease"], worker):
        raise StaleError(NOT_YOURS)
    return done()


def routes() -> list[web.RouteDef]:
    return [
        web.post("/v1/heartbeat", heartbeat),
        web.get("/v1/model", model),
        web.post("/v1/weights/{stream}", publish),
        web.get("/v1/weights/{stream}", newer),
        web.post("/v1/weights/{stream}/adopted", adopted),
        web.post("/v1/leases", lease),
        web.post("/v1/leases/{lease}/result", result),
        web.post("/v1/leases/{lease}/release", release),
    ]
