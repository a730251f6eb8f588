"""The HTTP API: each handler parses a request, calls one function, encodes the answer.

By caller: the operator (and the kubelet's probes, benchmarks, the demo), pods, rank 0.
"""

import asyncio

import msgspec
from aiohttp import web

from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_runtime.client import calls
from sea_runtime.coordinator import reports
from sea_runtime.coordinator.background import Notifiers, StoreProbe
from sea_runtime.coordinator.bootstrap import Bootstrap
from sea_runtime.coordinator.container_logs import ContainerLogs
from sea_runtime.coordinator.errors import GoneError, NotReadyError, RefusedError, StaleError
from sea_runtime.coordinator.http import body, done, number, reply, seconds
from sea_runtime.coordinator.job import Job
from sea_runtime.coordinator.leases import require_sound
from sea_runtime.coordinator.ledger.batches import FixedBatch
from sea_runtime.coordinator.ledger.database import Ledger
from sea_runtime.coordinator.ledger.episodes import Worker
from sea_runtime.coordinator.ledger.trajectories import Files
from sea_runtime.coordinator.membership import Heartbeats
from sea_runtime.coordinator.preconditions import Preconditions
from sea_runtime.coordinator.run_folder import metric_lines
from sea_runtime.coordinator.scheduler import Scheduler
from sea_runtime.coordinator.snapshot import Snapshots
from sea_runtime.coordinator.state import StateReport
from sea_runtime.coordinator.training import AheadError, Training
from sea_runtime.coordinator.weights import WeightRegistry, require_stream
from sea_runtime.transport.stored_versions import is_stored
from sea_runtime.wire.base import Message
from sea_runtime.wire.membership import Heartbeat
from sea_runtime.wire.rollouts import EpisodeResult, LeaseRequest, Leases
from sea_runtime.wire.trainer import (
    CheckpointCommitted,
    StageDone,
    StageProgress,
    TaskKind,
    TrainerTask,
)
from sea_runtime.wire.weights import (
    Adopted,
    EngineCopy,
    NotFetched,
    ShardLayout,
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
NOTIFIERS = web.AppKey("notifiers", Notifiers)
CONTAINER_LOGS = web.AppKey("container-logs", ContainerLogs)

MAX_WAIT_SECONDS = 10.0
NO_BATCH_SECONDS = 0.5
"""A trainer that asks for a batch that won't be is answered soon, so that it looks at its task."""
NOT_YOURS = "The lease is not this worker's any more. Forget the episode."


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
        # Expanded here, on the loop: SQLite's connection refuses other threads.
        await asyncio.to_thread(weights.keep_manifest, weights.expanded(version))
    return done()


async def put_layout(request: web.Request) -> web.Response:
    found = await body(request, ShardLayout)
    request.app[WEIGHTS].add_layout(request.match_info["digest"], found)
    return done()


async def layout(request: web.Request) -> web.Response:
    return reply(request.app[WEIGHTS].layout(request.match_info["digest"]))


async def newer(request: web.Request) -> web.Response:
    weights, stream = request.app[WEIGHTS], request.match_info["stream"]
    require_stream(stream)
    after, pod = number(request, "after"), request.query.get("pod", "")
    wait = seconds(request, "wait", MAX_WAIT_SECONDS)
    found = await request.app[NOTIFIERS].weights.first(
        lambda: weights.query(stream, after, pod), wait
    )
    return reply(found or weights.nothing_newer(stream, after, pod))


async def announce(request: web.Request) -> web.Response:
    message = await body(request, EngineCopy)
    request.app[WEIGHTS].announce(request.match_info["stream"], message)
    return done()


async def adopted(request: web.Request) -> web.Response:
    message = await body(request, Adopted)
    request.app[WEIGHTS].adopted(request.match_info["stream"], message)
    return done()


async def unfetched(request: web.Request) -> web.Response:
    message = await body(request, NotFetched)
    request.app[WEIGHTS].unfetched(request.match_info["stream"], message)
    return done()


async def wrong_weights(request: web.Request) -> web.Response:
    message = await body(request, WrongWeights)
    request.app[WEIGHTS].wrong(request.match_info["stream"], message)
    return done()


async def lease(request: web.Request) -> web.Response:
    scheduler, wanted = request.app[SCHEDULER], await body(request, LeaseRequest)
    found = await request.app[NOTIFIERS].leases.first(
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


# Rank 0.


async def task(request: web.Request) -> web.Response:
    training, attempt = request.app[TRAINING], number(request, "attempt")
    found = await request.app[NOTIFIERS].tasks.first(
        lambda: training.task(attempt), calls.TASK_WAIT_SECONDS
    )
    return reply(found or TrainerTask(kind=TaskKind.IDLE))


async def batch(request: web.Request) -> web.Response:
    training, stage = request.app[TRAINING], request.match_info["stage"]
    step, attempt = number(request, "step", least=1), number(request, "attempt")
    try:
        found = await request.app[NOTIFIERS].batches.first(
            lambda: training.batch(stage, step, attempt), calls.BATCH_WAIT_SECONDS
        )
    except AheadError as error:
        # Either the ledger is behind a checkpoint, or the trainer is ahead of all checkpoints.
        if not await request.app[BOOTSTRAP].catch_up(stage, error.fixed):
            raise training.fail_ahead(stage, step, error.fixed) from error
        # 204: rank 0 asks again, and the restored ledger answers.
        found = None
    except GoneError:
        # The trainer resumed from an older checkpoint than the ledger covers.
        if not await request.app[BOOTSTRAP].go_back(stage, step):
            raise
        found = None
    if found == b"":
        # Not at once: rank 0 asks again until its next look at the task.
        await asyncio.sleep(NO_BATCH_SECONDS)
    if not isinstance(found, FixedBatch):
        return web.Response(status=204)
    return web.Response(body=await asyncio.to_thread(found.read), content_type=calls.MSGPACK)


async def progress(request: web.Request) -> web.Response:
    row = await body(request, StageProgress)
    request.app[TRAINING].report(request.match_info["stage"], row)
    return done()


async def take_snapshot(request: web.Request) -> web.Response:
    stage = request.match_info["stage"]
    step, attempt = number(request, "step"), number(request, "attempt")
    # Before the copy: a ledger that lacks the step must not become part of its checkpoint.
    request.app[TRAINING].require_known(stage, step, attempt)
    return reply(await request.app[SNAPSHOTS].take(stage, step, attempt))


async def committed(request: web.Request) -> web.Response:
    message = await body(request, CheckpointCommitted)
    request.app[TRAINING].committed(request.match_info["stage"], message)
    return done()


async def stage_done(request: web.Request) -> web.Response:
    message = await body(request, StageDone)
    request.app[TRAINING].done(request.match_info["stage"], message)
    return done()


def routes() -> list[web.RouteDef]:
    stage = "/v1/stages/{stage}"
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
        web.post("/v1/weights/{stream}", publish),
        web.get("/v1/weights/{stream}", newer),
        web.post("/v1/weights/{stream}/adopted", adopted),
        web.post("/v1/weights/{stream}/unfetched", unfetched),
        web.post("/v1/weights/{stream}/wrong", wrong_weights),
        web.post("/v1/weights/{stream}/copies", announce),
        web.put("/v1/layouts/{digest}", put_layout),
        web.get("/v1/layouts/{digest}", layout),
        web.post("/v1/leases", lease),
        web.post("/v1/leases/{lease}/result", result),
        web.post("/v1/leases/{lease}/release", release),
        web.get("/v1/trainer/task", task),
        web.get(stage + "/batches/{step}", batch),
        web.post(stage + "/progress", progress),
        web.post(stage + "/snapshot", take_snapshot),
        web.post(stage + "/checkpoints", committed),
        web.post(stage + "/done", stage_done),
    ]
