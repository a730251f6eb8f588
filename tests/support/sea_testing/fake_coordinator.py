"""A small coordinator that speaks the wire models, for the trainer's component tests.

It hands out the task that the test sets, keeps what the trainer reports, refuses older attempts,
and gets RL batches from a function of the test.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

import boto3
import msgspec
from aiohttp import web

from sea_runtime.client.calls import UNKNOWN_LAYOUT
from sea_runtime.transport import layouts
from sea_runtime.transport.layouts import UnknownLayoutError
from sea_runtime.wire.membership import Heartbeat, HeartbeatReply
from sea_runtime.wire.rollouts import Batch
from sea_runtime.wire.trainer import (
    BackgroundFailures,
    CheckpointCommitted,
    LedgerSnapshot,
    StageDone,
    StageProgress,
    TaskKind,
    TrainerTask,
)
from sea_runtime.wire.weights import ShardLayout, WeightVersion
from sea_testing.server_thread import ServerThread

IDLE = TrainerTask(kind=TaskKind.IDLE)


class FakeCoordinator(ServerThread):
    """Runs in a thread; its attributes may be read and set by the test at any time."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        super().__init__(address)
        self.task = IDLE
        self.attempt = 1
        self.progress: list[StageProgress] = []
        self.committed: list[CheckpointCommitted] = []
        self.done: list[StageDone] = []
        self.failures: list[BackgroundFailures] = []
        self.versions: list[WeightVersion] = []
        """With their blocks."""
        self._layouts: dict[str, ShardLayout] = {}
        self.heartbeats: list[Heartbeat] = []
        self.logs: dict[str, bytes] = {}
        """By path."""
        self.reply = HeartbeatReply()
        self.before_heartbeat: Callable[[Heartbeat], Awaitable[None]] | None = None
        """Awaited before a heartbeat is taken."""
        self.batches: Callable[[int], Batch | None] = lambda step: None
        self.asked = 0
        """How often the task was asked for."""
        self.hold_from: int | None = None
        """Reports of this step and of later ones are held until it is None again."""

    async def application(self) -> web.Application:
        app = web.Application(client_max_size=1 << 30)
        app.add_routes(
            [
                web.post("/v1/heartbeat", self._heartbeat),
                web.get("/v1/trainer/task", self._task),
                web.get("/v1/stages/{stage}/batches/{step}", self._batch),
                web.post("/v1/stages/{stage}/progress", self._progress),
                web.post(
                    "/v1/stages/{stage}/checkpoints", self._keep(CheckpointCommitted, "committed")
                ),
                web.post("/v1/stages/{stage}/done", self._finish),
                web.post("/v1/stages/{stage}/failures", self._keep(BackgroundFailures, "failures")),
                web.post("/v1/stages/{stage}/snapshot", self._snapshot),
                web.put("/v1/logs/{pod}/{name}", self._keep_log),
                web.post("/v1/weights/{stream}", self._publish),
                web.put("/v1/layouts/{digest}", self._layout),
            ]
        )
        return app

    def _current(self, request: web.Request) -> None:
        if int(request.query["attempt"]) != self.attempt:
            raise web.HTTPConflict(text=f"attempt {self.attempt} is current")

    async def _publish(self, request: web.Request) -> web.Response:
        version = WeightVersion.model_validate_json(await request.read())
        try:
            self.versions.append(layouts.expand(version, self._layouts))
        except UnknownLayoutError:
            return web.Response(status=UNKNOWN_LAYOUT)
        return web.json_response({})

    async def _layout(self, request: web.Request) -> web.Response:
        layout = ShardLayout.model_validate_json(await request.read())
        self._layouts[request.match_info["digest"]] = layout
        return web.json_response({})

    async def _keep_log(self, request: web.Request) -> web.Response:
        self.logs[request.path] = await request.read()
        return web.json_response({})

    async def _heartbeat(self, request: web.Request) -> web.Response:
        heartbeat = Heartbeat.model_validate_json(await request.read())
        if self.before_heartbeat is not None:
            await self.before_heartbeat(heartbeat)
        self.heartbeats.append(heartbeat)
        return web.json_response(text=self.reply.model_dump_json())

    async def _task(self, request: web.Request) -> web.Response:
        self._current(request)
        self.asked += 1
        return web.json_response(text=self.task.model_dump_json())

    async def _batch(self, request: web.Request) -> web.Response:
        self._current(request)
        batch = self.batches(int(request.match_info["step"]))
        if batch is None:
            await asyncio.sleep(0.2)
            return web.Response(status=204)
        return web.Response(body=msgspec.msgpack.encode(batch))

    async def _progress(self, request: web.Request) -> web.Response:
        row = StageProgress.model_validate_json(await request.read())
        while self.hold_from is not None and row.step >= self.hold_from:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        self.progress.append(row)
        return web.Response()

    async def _finish(self, request: web.Request) -> web.Response:
        self.done.append(StageDone.model_validate_json(await request.read()))
        self.task = IDLE
        return web.Response()

    async def _snapshot(self, request: web.Request) -> web.Response:
        self._current(request)
        bucket, _, prefix = self.task.run_url.removeprefix("s3://").partition("/")
        name = f"{prefix}/ledger/{request.query['step']}.sqlite"
        body = b"ledger"
        client: Any = boto3.client("s3")
        await asyncio.to_thread(client.put_object, Bucket=bucket, Key=name, Body=body)
        digest = hashlib.sha256(body).hexdigest()
        snapshot = LedgerSnapshot(key=name, size=len(body), sha256=digest)
        return web.json_response(text=snapshot.model_dump_json())

    def _keep(self, model: Any, attribute: str) -> Any:
        async def handle(request: web.Request) -> web.Response:
            getattr(self, attribute).append(model.model_validate_json(await request.read()))
            return web.Response()

        return handle
