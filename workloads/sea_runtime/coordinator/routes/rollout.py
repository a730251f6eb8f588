"""The rollout worker's calls about episodes."""

import msgspec
from aiohttp import web

from sea_runtime.client import calls
from sea_runtime.coordinator.errors import RefusedError, StaleError
from sea_runtime.coordinator.leases import require_sound
from sea_runtime.coordinator.ledger.episodes import Worker
from sea_runtime.coordinator.notifier import Notifier
from sea_runtime.coordinator.routes.common import body, done, reply
from sea_runtime.coordinator.scheduler import Scheduler
from sea_runtime.wire.base import Message
from sea_runtime.wire.rollouts import EpisodeResult, LeaseRequest, Leases

SCHEDULER = web.AppKey("scheduler", Scheduler)
LEASABLE = web.AppKey("leasable", Notifier)

NOT_YOURS = "The lease is not this worker's any more. Forget the episode."


class Release(Message):
    pod: str
    incarnation: str


async def lease(request: web.Request) -> web.Response:
    scheduler, wanted = request.app[SCHEDULER], await body(request, LeaseRequest)
    found = await request.app[LEASABLE].first(lambda: scheduler.lease(wanted), calls.LEASE_WAIT_S)
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
        web.post("/v1/leases", lease),
        web.post("/v1/leases/{lease}/result", result),
        web.post("/v1/leases/{lease}/release", release),
    ]
