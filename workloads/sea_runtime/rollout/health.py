"""How the worker reports that it lives: probes for the kubelet, heartbeats for the coordinator.

`/healthz` and `/readyz` are served on the pod's own address. A heartbeat says which weight version
the engine serves, once a second and at each change.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from sea_api.contract import WORKER_PORT
from sea_runtime import software
from sea_runtime.client.async_client import AsyncCoordinatorClient
from sea_runtime.client.calls import CoordinatorError
from sea_runtime.rollout.engine_state import EMPTY, EngineState
from sea_runtime.rollout.settings import Identity, Settings
from sea_runtime.rollout.user_pool import UserPool
from sea_runtime.wire.membership import Heartbeat, PodState

_log = logging.getLogger(__name__)
PERIOD_SECONDS = 1.0


def application(state: EngineState) -> web.Application:
    """Ready exactly while the engine serves a version that it may serve."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def readyz(_: web.Request) -> web.Response:
        text = f"serves {state.version}, required is {state.required}"
        return web.Response(text=text, status=200 if state.ready else 503)

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    return app


async def serve(state: EngineState, host: str) -> web.AppRunner:
    """Starts listening; the caller cleans up the runner."""
    runner = web.AppRunner(application(state), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, WORKER_PORT).start()
    return runner


def heartbeat(settings: Settings, identity: Identity, state: EngineState) -> Heartbeat:
    """What is reported to the coordinator now."""
    return Heartbeat(
        pod=identity.pod,
        role=settings.role,
        address=settings.address,
        incarnation=identity.incarnation,
        state=PodState.READY if state.ready else PodState.STARTING,
        adopted=None if state.version == EMPTY else state.version,
        adopted_attempt=state.attempt,
        transport=state.transport,
        unreachable=state.unreachable,
        software=software.installed(),
    )


async def beat(
    client: AsyncCoordinatorClient,
    settings: Settings,
    identity: Identity,
    state: EngineState,
    pool: UserPool,
    restart: Callable[[], Awaitable[None]],
) -> None:
    """Sends heartbeats until cancelled; the replies name the user-model engines, and say whether
    the engine must restart because training went back behind its weights.

    A change is reported at once: the coordinator may be waiting for it to hand out leases.
    """
    while True:
        # Taken before the message is built: a change during the call starts the next one at once.
        reported = state.changes
        try:
            reply = await client.heartbeat(lambda: heartbeat(settings, identity, state))
            # Replaces the whole set: an engine that is gone from the reply is no longer used.
            pool.use(reply.user_addresses)
            # Not one that has ended already: it comes back by itself.
            if reply.restart and state.version not in (None, EMPTY):
                _log.warning("Training went back behind version %d: it restarts.", state.version)
                await restart()
        except CoordinatorError as error:
            _log.warning("The heartbeat did not reach the coordinator: %s", error)
        # A sleep of one period that ends at the next change.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(_changed(state, reported), PERIOD_SECONDS)


async def _changed(state: EngineState, reported: int) -> None:
    while state.changes == reported:
        await state.change()
