"""Rank 0's calls."""

import asyncio
from pathlib import Path

from aiohttp import web

from sea_runtime.client import calls
from sea_runtime.coordinator import opening, snapshot, training
from sea_runtime.coordinator.routes.common import body, core_of, done, number, reply
from sea_runtime.wire.trainer import (
    CheckpointCommitted,
    StageDone,
    StageProgress,
    TaskKind,
    TrainerTask,
)

DRAIN_WAIT_S = 0.5
"""A trainer that asks for a batch while draining is answered soon, so that it asks for its task."""


async def task(request: web.Request) -> web.Response:
    core, attempt = core_of(request), number(request, "attempt")
    found = await core.bells.tasks.until(lambda: training.task(core, attempt), calls.TASK_WAIT_S)
    return reply(found or TrainerTask(kind=TaskKind.IDLE))


async def batch(request: web.Request) -> web.Response:
    core, stage = core_of(request), request.match_info["stage"]
    step, attempt = number(request, "step", least=1), number(request, "attempt")
    wait = DRAIN_WAIT_S if core.desired.drain else calls.BATCH_WAIT_S
    try:
        found = await core.bells.batches.until(
            lambda: training.batch(core, stage, step, attempt), wait
        )
    except training.AheadError as error:
        if not await opening.catch_up(core, stage, error.fixed):
            raise training.fail_ahead(core, stage, step, error.fixed) from error
        found = None
    if found is None:
        return web.Response(status=204)
    return web.Response(body=found, content_type=calls.MSGPACK)


async def progress(request: web.Request) -> web.Response:
    row = await body(request, StageProgress)
    training.report(core_of(request), request.match_info["stage"], row)
    return done()


async def take_snapshot(request: web.Request) -> web.Response:
    core, stage = core_of(request), request.match_info["stage"]
    step, attempt = number(request, "step"), number(request, "attempt")
    training.require_known(core, stage, step, attempt)
    taken = await asyncio.to_thread(
        snapshot.take,
        Path(core.ledger_file),
        core.store,
        core.desired.run_url,
        stage,
        step,
        attempt,
    )
    return reply(taken)


async def committed(request: web.Request) -> web.Response:
    message = await body(request, CheckpointCommitted)
    training.committed(core_of(request), request.match_info["stage"], message)
    return done()


async def stage_done(request: web.Request) -> web.Response:
    message = await body(request, StageDone)
    training.done(core_of(request), request.match_info["stage"], message)
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
