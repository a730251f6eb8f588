"""Once a second, and at each change: this pod lives, and its engine serves this weight version."""

import asyncio
import contextlib
import logging

from sea_runtime.client.aio import AsyncCoordinatorClient
from sea_runtime.client.errors import CoordinatorError
from sea_runtime.rollout.engine_state import EngineState
from sea_runtime.rollout.episode_runner import Identity
from sea_runtime.rollout.settings import Settings
from sea_runtime.rollout.user_pool import UserPool
from sea_runtime.wire.membership import Heartbeat, PodState

_log = logging.getLogger(__name__)
PERIOD_S = 1.0


def message(settings: Settings, identity: Identity, state: EngineState) -> Heartbeat:
    """What the coordinator hears now."""
    return Heartbeat(
        pod=identity.pod,
        role=settings.role,
        address=settings.address,
        incarnation=identity.incarnation,
        state=PodState.READY if state.ready else PodState.STARTING,
        adopted=state.version,
    )


async def beat(
    client: AsyncCoordinatorClient,
    settings: Settings,
    identity: Identity,
    state: EngineState,
    pool: UserPool,
) -> None:
    """For ever; the replies name the user-model engines.

    A change is told at once: the coordinator may wait for it to hand out leases.
    """
    while True:
        told = state.changes
        try:
            reply = await client.heartbeat(message(settings, identity, state))
            pool.use(reply.user_addresses)
        except CoordinatorError as error:
            _log.warning("The heartbeat was not heard: %s", error)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(_changed(state, told), PERIOD_S)


async def _changed(state: EngineState, told: int) -> None:
    while state.changes == told:
        await state.change()
