"""Once a second: this pod lives, and this is the weight version that its engine serves."""

import asyncio
import logging

from sea_workloads.client.aio import AsyncCoordinatorClient
from sea_workloads.client.errors import CoordinatorError
from sea_workloads.rollout.engine_state import EngineState
from sea_workloads.rollout.episode_runner import Identity
from sea_workloads.rollout.settings import Settings
from sea_workloads.rollout.user_pool import UserPool
from sea_workloads.wire.membership import Heartbeat, PodState

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
    """For ever; the replies name the user-model engines."""
    while True:
        try:
            reply = await client.heartbeat(message(settings, identity, state))
            pool.use(reply.user_addresses)
        except CoordinatorError as error:
            _log.warning("The heartbeat was not heard: %s", error)
        await asyncio.sleep(PERIOD_S)
