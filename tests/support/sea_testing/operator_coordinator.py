"""A coordinator of the operator's tests: speaks the wire models over HTTP."""

from typing import Any

from aiohttp import web

from sea_api.v1alpha1.policy import Cause
from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_api.wire.state import CoordinatorState, StagePhase, StageState, TrainerFailure


class FakeCoordinator:
    """Speaks the wire models; tests set `state` and read `specs`."""

    def __init__(self) -> None:
        self.state = CoordinatorState(rank_pods=[])
        self.specs: list[CoordinatorSpec] = []
        self.token: str | None = None
        self.address = ""
        self._runner: web.AppRunner | None = None

    async def start(self, address: str) -> None:
        app = web.Application()
        app.add_routes([web.get("/v1/state", self._get), web.put("/v1/spec", self._put)])
        self._runner = web.AppRunner(app, shutdown_timeout=0.5)
        await self._runner.setup()
        self.address = address
        await web.TCPSite(self._runner, address, 8080).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def change(self, **fields: Any) -> None:
        self.state = self.state.model_copy(update=fields)

    def complete(self, *names: str, running: str | None = None, step: int = 0) -> None:
        done = [
            StageState(name=name, phase=StagePhase.COMPLETE, step=9, total_steps=9)
            for name in names
        ]
        run = StageState(name=running or "", phase=StagePhase.RUNNING, step=step, total_steps=40)
        self.change(stages=[*done, *([run] if running else [])])

    def fail(
        self, cause: Cause = Cause.PROCESS_EXIT, time: float = 0.0, pod: str = "j-trainer-0"
    ) -> None:
        self.change(
            trainer_failure=TrainerFailure(
                attempt=self.state.attempt,
                pod=pod,
                cause=cause,
                message=f"[pair.cc:537] Read error {'x' * 1200} GLHF! \U0001f3d6\ufe0f",
                time=time,
            )
        )

    async def _get(self, request: web.Request) -> web.Response:
        self._check(request)
        return web.Response(text=self.state.model_dump_json(by_alias=True))

    async def _put(self, request: web.Request) -> web.Response:
        self._check(request)
        spec = CoordinatorSpec.model_validate_json(await request.text())
        self.specs.append(spec)
        failure = self.state.trainer_failure
        fresh = failure is not None and failure.attempt < spec.attempt
        self.change(
            spec_digest=spec.digest,
            uid=spec.uid,
            attempt=spec.attempt,
            trainer_failure=None if fresh else failure,
        )
        return web.Response(status=204)

    def _check(self, request: web.Request) -> None:
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            raise web.HTTPUnauthorized
