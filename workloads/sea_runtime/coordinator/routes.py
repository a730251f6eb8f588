"""The HTTP API: each handler parses a request, calls one function, encodes the answer.

By caller: the operator (and the kubelet's probes, benchmarks, the demo), then pods; those of rank 0
are in `trainer_routes.py`.
"""

import asyncio

import msgspec
from aiohttp import web
from pydantic import ValidationError

from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_runtime.client import calls
from sea_runtime.coordinator import reports, weight_manifests
from sea_runtime.coordinator.background import Notifiers, StoreProbe
from sea_runtime.coordinator.bootstrap import Bootstrap
from sea_runtime.coordinator.container_logs import ContainerLogs
from sea_runtime.coordinator.errors import NotReadyError, RefusedError, StaleError
from sea_runtime.coordinator.http import (
    BodyBudget,
    body,
    done,
    forwards,
    number,
    reply,
    seconds,
    whole,
)
from sea_runtime.coordinator.job import Job
from sea_runtime.coordinator.leases import require_sound
from sea_runtime.coordinator.ledger.database import Ledger
from sea_runtime.coordinator.ledger.episodes import Worker
from sea_runtime.coordinator.ledger.trajectories import Files
from sea_runtime.coordinator.membership import Heartbeats
from sea_runtime.coordinator.preconditions import Preconditions
from sea_runtime.coordinator.run_folder import metric_lines
from sea_runtime.coordinator.scheduler import Scheduler
from sea_runtime.coordinator.snapshot import Snapshots
from sea_runtime.coordinator.state import StateReport
from sea_runtime.coordinator.training import Training
from sea_runtime.coordinator.weights import WeightRegistry, require_stream
from sea_runtime.transport.stored_versions import is_stored
from sea_runtime.wire.base import Message
from sea_runtime.wire.membership import Heartbeat
from sea_runtime.wire.rollouts import EpisodeResult, LeaseRequest, Leases
from sea_runtime.wire.weights import (
    Adopted,
    EngineCopy,
    NotFetched,
    WeightVersion,
    WrongWeights,
)

STATE = web.AppKey("state", StateReport)
JOB = web.AppKey("job", Job)
LEDGER = web.AppKey("ledger", Ledger)
PROBE = web.AppKey("probe", StoreProbe)
HEARTBEATS = web.AppKey("heartbeats", Heartbeats)
PRECONDITIONS = web.AppKey("preconditions", Preconditions)
WEIGHTS = web.AppKey("weights", WeightRegistry)
SCHEDULER = web.AppKey("scheduler", Scheduler)
TRAINING = web.AppKey("training", Training)
SNAPSHOTS = web.AppKey("snapshots", Snapshots)
BOOTSTRAP = web.AppKey("bootstrap", Bootstrap)
FILES = web.AppKey("files", Files)
BODIES = web.AppKey("bodies", BodyBudget)
NOTIFIERS = web.AppKey("notifiers", Notifiers)
CONTAINER_LOGS = web.AppKey("container-logs", ContainerLogs)

MAX_WAIT_SECONDS = 10.0
NOT_YOURS = "The lease is no longer this worker's. Forget the episode."


# The operator, the kubelet's probes, and what benchmarks and the demo read.


async def get_state(request: web.Request) -> web.Response:
    text = request.app[STATE].assemble().model_dump_json(by_alias=True)
    return web.Response(text=text, content_type="application/json")


async def put_spec(request: web.Request) -> web.Response:
    request.app[JOB].request(await body(request, CoordinatorSpec))
    return done()


async def put_log(request: web.Request) -> web.Response:
    where, text = request.match_info, await request.read()
    await request.app[CONTAINER_LOGS].keep(
        where["pod"],
        where["container"],
        number(request, "attempt"),
        text,
        failed=request.query.get("failed") == "true",
    )
    return done()


async def healthz(_: web.Request) -> web.Response:
    return web.json_response({"alive": True})


async def readyz(request: web.Request) -> web.Response:
    ready = request.app[PROBE].reachable
    return web.json_response({"storeReachable": ready}, status=200 if ready else 503)


async def get_timeline(request: web.Request) -> web.Response:
    return web.json_response(reports.spans(request.app[LEDGER].db))


async def metrics(request: web.Request) -> web.Response:
    text = metric_lines(request.app[LEDGER].db)
    return web.Response(text=text, content_type="application/jsonl")


# Pods: heartbeat, base model, weight versions, and the worker's leases.


class Release(Message):
    pod: str
    incarnation: str


async def heartbeat(request: web.Request) -> web.Response:
    return reply(request.app[HEARTBEATS].heard(await body(request, Heartbeat)))


async def model(request: web.Request) -> web.Response:
    stream = request.query.get("stream", "")
    found = request.app[PRECONDITIONS].model(stream)
    if found is None:
        raise NotReadyError("The base model is being prepared. Ask again.")
    return reply(found.model_copy(update={"empty": request.app[WEIGHTS].fetchable(stream)}))


async def publish(request: web.Request) -> web.Response:
    weights, version = request.app[WEIGHTS], await body(request, WeightVersion)
    weights.publish(version)
    if is_stored(version):
        # Before the answer: rank 0 repeats the call until it is acknowledged, so a kill in between
        # can't leave a copy that a lost ledger would not find again.
        await weights.store_manifest(version)
    return done()


async def put_layout(request: web.Request) -> web.Response:
    digest, data = request.match_info["digest"], await request.read()
    try:
        # In a thread: it takes seconds for a large model, and heartbeats wait.
        text = await asyncio.to_thread(weight_manifests.checked_layout, digest, data)
    except ValidationError as error:
        raise RefusedError(f"The body is not a ShardLayout: {error}") from error
    request.app[WEIGHTS].add_layout(digest, text)
    return done()


async def layout(request: web.Request) -> web.Response:
    text = request.app[WEIGHTS].layout(request.match_info["digest"])
    return web.Response(text=text, content_type=calls.JSON)


async def newer(request: web.Request) -> web.Response:
    weights, stream = request.app[WEIGHTS], request.match_info["stream"]
    require_stream(stream)
    after, pod = number(request, "after"), request.query.get("pod", "")
    wait = seconds(request, "wait", MAX_WAIT_SECONDS)
    found = await request.app[NOTIFIERS].weights.first(
        lambda: weights.query(stream, after, pod), wait
    )
    return reply(found or weights.nothing_newer(stream, after, pod))


async def lease(request: web.Request) -> web.Response:
    scheduler, wanted = request.app[SCHEDULER], await body(request, LeaseRequest)
    found = await request.app[NOTIFIERS].leases.first(
        lambda: scheduler.lease(wanted), calls.LEASE_WAIT_SECONDS
    )
    return reply(found or Leases(leases=[]))


async def result(request: web.Request) -> web.Response:
    async with request.app[BODIES].reserve(request):
        return await _result(request)


async def _result(request: web.Request) -> web.Response:
    try:
        episode = msgspec.msgpack.decode(await whole(request), type=EpisodeResult)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError(f"The body is not an EpisodeResult in msgpack: {error}") from error
    if episode.lease_id != request.match_info["lease"]:
        raise RefusedError("The lease in the path is not the one in the body.")
    require_sound(episode)
    # Before the ledger: a row never names bytes that aren't on the disk.
    async with request.app[FILES].stored(episode.trajectory) as file:
        if not request.app[SCHEDULER].result(episode, file):
            raise StaleError(NOT_YOURS)
    return done()


async def release(request: web.Request) -> web.Response:
    message = await body(request, Release)
    worker = Worker(message.pod, message.incarnation)
    if not request.app[SCHEDULER].release(request.match_info["lease"], worker):
        raise StaleError(NOT_YOURS)
    return done()


def routes() -> list[web.RouteDef]:
    stream = "/v1/weights/{stream}"
    return [
        web.get("/v1/state", get_state),
        web.put("/v1/spec", put_spec),
        web.put("/v1/logs/{pod}/{container}", put_log),
        web.get("/healthz", healthz),
        web.get("/readyz", readyz),
        web.get("/v1/timeline", get_timeline),
        web.get("/v1/metrics.jsonl", metrics),
        web.post("/v1/heartbeat", heartbeat),
        web.get("/v1/model", model),
        web.post(stream, publish),
        web.get(stream, newer),
        web.post(
            stream + "/adopted", forwards(Adopted, "stream", lambda app: app[WEIGHTS].adopted)
        ),
        web.post(
            stream + "/unfetched",
            forwards(NotFetched, "stream", lambda app: app[WEIGHTS].unfetched),
        ),
        web.post(
            stream + "/wrong", forwards(WrongWeights, "stream", lambda app: app[WEIGHTS].wrong)
        ),
        web.post(
            stream + "/copies", forwards(EngineCopy, "stream", lambda app: app[WEIGHTS].announce)
        ),
        web.put("/v1/layouts/{digest}", put_layout),
        web.get("/v1/layouts/{digest}", layout),
        web.post("/v1/leases", lease),
        web.post("/v1/leases/{lease}/result", result),
        web.post("/v1/leases/{lease}/release", release),
    ]
