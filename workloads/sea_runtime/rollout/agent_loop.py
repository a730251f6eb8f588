"""Keeps the worker's episodes in flight: leases arrive, run as tasks, results are delivered.

At most as many at a time as the engine runs; the coordinator's staleness gate decides how many
there are.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec

from sea_api import limits
from sea_runtime.client.async_client import AsyncCoordinatorClient
from sea_runtime.client.calls import CoordinatorError, CoordinatorUnreachableError
from sea_runtime.rollout.engine_state import EngineState
from sea_runtime.rollout.settings import Identity
from sea_runtime.wire.rollouts import EpisodeResult, Lease, LeaseRequest

_log = logging.getLogger(__name__)
GATHER_SECONDS = 0.05
"""Episodes that end within this time are replaced by a single request."""
RETRY_SECONDS = 0.5
# Well below a pod's grace period; leases that aren't returned expire.
GIVE_BACK_SECONDS = 5.0

Run = Callable[[Lease], Awaitable[EpisodeResult]]


class AgentLoop:
    """`run` until cancelled, then `give_back`. Owns the running episodes and their leases."""

    def __init__(
        self,
        client: AsyncCoordinatorClient,
        state: EngineState,
        identity: Identity,
        run_episode: Run,
        most: int = limits.MAX_EPISODES,
    ) -> None:
        """`most` episodes at one time (`spec.rollout.maxEpisodes`)."""
        self._client, self._state, self._identity = client, state, identity
        self._run_episode, self._most = run_episode, most
        self._running: dict[asyncio.Task[None], str] = {}

    async def run(self) -> None:
        while True:
            # Ready first: leases taken earlier would wait for the engine and count as running
            # meanwhile.
            await self._state.wait_ready()
            await self._wait_for_room()
            for lease in await self._lease(self._most - len(self._running)):
                task = asyncio.ensure_future(self._episode(lease))
                # Recorded before the next await, so that `give_back` knows every lease that was
                # granted.
                self._running[task] = lease.lease_id
                task.add_done_callback(self._running.pop)

    async def give_back(self) -> None:
        """Cancels all episodes and returns their leases, quickly: the pod is about to stop."""
        # Listed first: a cancelled task removes itself, and its lease would have to expire.
        leases = list(self._running.values())
        for task in list(self._running):
            task.cancel()
        releases = (
            self._client.release(lease, self._identity.pod, self._identity.incarnation)
            for lease in leases
        )
        try:
            await asyncio.wait_for(
                asyncio.gather(*releases, return_exceptions=True), GIVE_BACK_SECONDS
            )
        except TimeoutError:
            _log.warning("Not all of the %d leases could be returned: they expire.", len(leases))

    async def _wait_for_room(self) -> None:
        # Room first, then one request for all the places that became free.
        while len(self._running) >= self._most:
            await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(GATHER_SECONDS)

    async def _lease(self, want: int) -> list[Lease]:
        request = LeaseRequest(
            pod=self._identity.pod, incarnation=self._identity.incarnation, want=want
        )
        try:
            return (await self._client.lease(request)).leases
        except CoordinatorError as error:
            _log.warning("No leases: %s", error)
            await asyncio.sleep(RETRY_SECONDS)
            return []

    async def _episode(self, lease: Lease) -> None:
        result = await self._run_episode(lease)
        if result.error:
            _log.warning("Episode %s has no verdict: %s", lease.lease_id, result.error)
        try:
            await self._deliver(result)
        except Exception as error:
            _log.exception("The result of episode %s can't be sent.", lease.lease_id)
            # The lease must end all the same: the coordinator would wait for this worker as long as
            # it lives.
            await self._deliver(without_verdict(result, error))

    async def _deliver(self, result: EpisodeResult) -> None:
        """Sends the result, however long the coordinator is away.

        Meanwhile the lease can't be lost: the coordinator treats a live worker's lease as running.
        Raises CoordinatorError or an encoding error if this very result can't be sent.
        """
        while True:
            try:
                if not await self._client.result(result):
                    _log.info("Episode %s no longer belonged to this worker.", result.lease_id)
            except CoordinatorUnreachableError as error:
                _log.warning("The result of episode %s waits: %s", result.lease_id, error)
            else:
                return


def without_verdict(result: EpisodeResult, error: Exception) -> EpisodeResult:
    """The report of an episode whose result the coordinator refuses, or that can't be encoded."""
    return msgspec.structs.replace(
        result,
        reward=None,
        error=f"The result can't be sent: {error!r}",
        trajectory=None,
        transcript=[],
        details={},
    )
