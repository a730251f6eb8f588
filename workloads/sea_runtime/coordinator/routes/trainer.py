"""Rank 0's calls."""

import asyncio

from aiohttp import web

from sea_runtime.client import calls
from sea_runtime.coordinator.bootstrap import Bootstrap
from sea_runtime.coordinator.notifier import Notifiers
from sea_runtime.coordinator.routes.common import body, done, number, reply
from sea_runtime.coordinator.snapshot import Snapshots
from sea_runtime.coordinator.training import AheadError, Training
from sea_runtime.wire.trainer import (
    CheckpointCommitted,
    StageDone,
    StageProgress,
    TaskKind,
    TrainerTask,
)

TRAINING = web.AppKey("training", Training)
SNAPSHOTS = web.AppKey("snapshots", Snapshots)
BOOTSTRAP = web.AppKey("bootstrap", Bootstrap)
NOTIFIERS = web.AppKey("notifiers", Notifiers)

DRAIN_WAIT_SECONDS = 0.5
"""A trainer that asks for a batch while draining is answered soon, so that it asks for its task."""


async def task(request: web.Request) -> web.Response:
    training, attempt = request.app[TRAINING], number(request, "attempt")
    found = await request.app[NOTIFIERS].tasks.first(
        lambda: training.task(attempt), calls.TASK_WAIT_SECONDS
    )
    return reply(found or TrainerTask(kind=TaskKind.IDLE))


async def batch(request: web.Request) -> web.Response:
    training, stage = request.app[TRAINING], request.match_info["stage"]
    step, attempt = number(request, "step", least=1), number(request, "attempt")
    wait = DRAIN_WAIT_SECONDS if training.draining else calls.BATCH_WAIT_SECONDS
    try:
        found = await request.app[NOTIFIERS].batches.first(
            lambda: training.batch(stage, step, attempt), wait
        )
    except AheadError as error:
        # Either the ledger is behind a checkpoint, or the trainer is ahead of all checkpoints.
        if not await request.app[BOOTSTRAP].catch_up(stage, error.fixed):
            raise training.fail_ahead(stage, step, error.fixed) from error
        # 204: rank 0 asks again, and the restored ledger answers.
        found = None
    if found is None:
        return web.Response(status=204)
    return web.Response(body=found, content_type=calls.MSGPACK)


async def progress(request: web.Request) -> web.Response:
    row = await body(request, StageProgress)
    request.app[TRAINING].report(request.match_info["stage"], row)
    return done()


async def take_snapshot(request: web.Request) -> web.Response:
    stage = request.match_info["stage"]
    step, attempt = number(request, "step"), number(request, "attempt")
    # Before the copy: a ledger that lacks the step must not become part of its checkpoint.
    request.app[TRAINING].require_known(stage, step, attempt)
    snapshots = request.app[SNAPSHOTS]
    # A cancelled handler doesn't stop the thread: the upload ends by itself and is safe to repeat.
    return reply(await asyncio.to_thread(snapshots.take, stage, step, attempt))


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
        web.get("/v1/trainer/task", task),
        web.get(stage + "/batches/{step}", batch),
        web.post(stage + "/progress", progress),
        web.post(stage + "/snapshot", take_snapshot),
        web.post(stage + "/checkpoints", committed),
        web.post(stage + "/done", stage_done),
    ]
