"""The HTTP API for rank 0 of the trainer: its task, batches, progress, checkpoints, a stage's end.

As in `routes.py`, each handler parses a request, calls one function, encodes the answer.
"""

import asyncio

from aiohttp import web

from sea_runtime.client import calls
from sea_runtime.coordinator.errors import GoneError
from sea_runtime.coordinator.http import forwards, number, reply, streamed
from sea_runtime.coordinator.ledger.fixed_batch import FixedBatch
from sea_runtime.coordinator.routes import BOOTSTRAP, NOTIFIERS, SNAPSHOTS, TRAINING
from sea_runtime.coordinator.training import AheadError
from sea_runtime.wire.trainer import (
    BackgroundFailures,
    CheckpointCommitted,
    StageDone,
    StageProgress,
    TaskKind,
    TrainerTask,
)

NO_BATCH_SECONDS = 0.5
"""A trainer that asks for a batch that won't be is answered soon, so that it looks at its task."""


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
    stream = await asyncio.to_thread(found.open)
    return streamed(stream.pieces(), stream.nbytes, calls.MSGPACK)


async def take_snapshot(request: web.Request) -> web.Response:
    stage = request.match_info["stage"]
    step, attempt = number(request, "step"), number(request, "attempt")
    # Before the copy: a ledger that lacks the step must not become part of its checkpoint.
    request.app[TRAINING].require_known(stage, step, attempt)
    return reply(await request.app[SNAPSHOTS].take(stage, step, attempt))


def routes() -> list[web.RouteDef]:
    stage = "/v1/stages/{stage}"
    return [
        web.get("/v1/trainer/task", task),
        web.get(stage + "/batches/{step}", batch),
        web.post(
            stage + "/progress", forwards(StageProgress, "stage", lambda app: app[TRAINING].report)
        ),
        web.post(
            stage + "/failures",
            forwards(BackgroundFailures, "stage", lambda app: app[TRAINING].report_failures),
        ),
        web.post(stage + "/snapshot", take_snapshot),
        web.post(
            stage + "/checkpoints",
            forwards(CheckpointCommitted, "stage", lambda app: app[TRAINING].committed),
        ),
        web.post(stage + "/done", forwards(StageDone, "stage", lambda app: app[TRAINING].done)),
    ]
