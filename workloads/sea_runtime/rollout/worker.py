"""`python -m sea_runtime.rollout.worker`: the worker container next to an engine.

Both roles: watch the engine, keep its weights up to date, answer probes, send heartbeats. Role
rollout also runs episodes. On SIGTERM it gives all leases back and exits within seconds.
"""

import asyncio
import logging
import signal
import uuid
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from sea_api import logs
from sea_api.contract import ENGINE_PORT, role_label
from sea_api.v1alpha1.policy import Role
from sea_env.tokens.renderer import Renderer
from sea_env.tokens.style import call_format
from sea_env.verify.sandbox.pool import Sandboxes
from sea_runtime.client.async_client import AsyncCoordinatorClient
from sea_runtime.client.calls import CoordinatorError
from sea_runtime.rollout import engine_client, health
from sea_runtime.rollout.agent_loop import AgentLoop
from sea_runtime.rollout.databases import Databases
from sea_runtime.rollout.engine_client import EngineClient
from sea_runtime.rollout.engine_state import EngineState, watch
from sea_runtime.rollout.episode_runner import EpisodeRunner, Sampler
from sea_runtime.rollout.scoring import Scoring
from sea_runtime.rollout.settings import Identity, Settings, from_environment
from sea_runtime.rollout.simulated_users import SimulatedUsers
from sea_runtime.rollout.user_pool import UserPool
from sea_runtime.rollout.weight_updater import WeightUpdater
from sea_runtime.store import folders
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.wire.weights import ModelReply

_log = logging.getLogger(__name__)
_MODEL_POLL_SECONDS = 0.5


class Worker:
    """Wires together everything that runs in the process."""

    def __init__(
        self, settings: Settings, client: AsyncCoordinatorClient, http: aiohttp.ClientSession
    ) -> None:
        self._settings, self._client, self._http = settings, client, http
        # A new incarnation per process: the coordinator takes back the leases of the one before.
        self._identity = Identity(settings.pod, uuid.uuid4().hex)
        self.state = EngineState()
        self._engine = EngineClient(http, f"http://{settings.address}:{ENGINE_PORT}")
        self._pool = UserPool(http)
        self._updater = WeightUpdater(
            client, self._engine, self.state, settings.stream, settings.pod
        )
        self.loop: AgentLoop | None = None

    def tasks(self) -> list[Coroutine[Any, Any, None]]:
        """Everything that runs until SIGTERM."""
        always = [
            watch(self._engine, self.state),
            self._updater.run(),
            health.beat(
                self._client,
                self._settings,
                self._identity,
                self.state,
                self._pool,
                self._engine.terminate,
            ),
        ]
        runs_episodes = self._settings.role == role_label(Role.ROLLOUT)
        return always + ([self.episodes()] if runs_episodes else [])

    async def episodes(self) -> None:
        """Prepares the agent loop (tokenizers come with the base models), then runs it."""
        store = ObjectStore()
        # Before the first lease: an episode can't be rendered without its tokenizer.
        policy, _ = await self._renderer(store, "policy")
        user, context_length = await self._renderer(store, "user")
        users = SimulatedUsers(self._http, self._pool, user, context_length)
        sandboxes = Sandboxes()
        runner = EpisodeRunner(
            self._identity,
            Sampler(self._engine, self.state),
            policy,
            users,
            Databases(store),
            Scoring(self._http, sandboxes),
            router_replay=self._settings.router_replay,
        )
        self.loop = AgentLoop(
            self._client, self.state, self._identity, runner.run, self._settings.max_episodes
        )
        try:
            await self.loop.run()
        finally:
            await sandboxes.close()

    async def _renderer(self, store: ObjectStore, stream: str) -> tuple[Renderer, int]:
        reply = await self._model(stream)
        target = self._settings.data_dir / f"tokenizer-{stream}"
        # The store blocks, and heartbeats must go on meanwhile.
        await asyncio.to_thread(folders.download_tokenizer, store, reply.url, target)
        renderer = Renderer.load(
            target, call_format(reply.tool_format), strips_thoughts=reply.strips_thoughts
        )
        return renderer, reply.context_length

    async def _model(self, stream: str) -> ModelReply:
        while True:
            try:
                reply = await self._client.model(stream)
            except CoordinatorError as error:
                _log.warning("%s", error)
                reply = None
            if reply is not None:
                return reply
            await asyncio.sleep(_MODEL_POLL_SECONDS)


@asynccontextmanager
async def _stop_signal() -> AsyncIterator[asyncio.Event]:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        # asyncio calls it in the loop; a handler of signal.signal could run between any two
        # instructions.
        loop.add_signal_handler(number, stop.set)
    yield stop


async def run(settings: Settings) -> None:
    """Runs until SIGTERM; a task that ends by itself ends the worker with its error."""
    client = AsyncCoordinatorClient(settings.coordinator_url, settings.token)
    async with client, engine_client.session() as http, _stop_signal() as stop:
        worker = Worker(settings, client, http)
        # Before the tasks: probes answer from the first moment on, and say "not ready".
        server = await health.serve(worker.state, settings.address)
        tasks = [asyncio.ensure_future(task) for task in worker.tasks()]
        stopping = asyncio.ensure_future(stop.wait())
        try:
            done, _ = await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in [*tasks, stopping]:
                task.cancel()
            # cancel() only requests it: without this wait a task could go on during the clean-up
            # below.
            await asyncio.gather(*tasks, stopping, return_exceptions=True)
            # After the tasks have ended: a running loop would lease again what is given back.
            if worker.loop is not None:
                await worker.loop.give_back()
            await server.cleanup()


def main() -> None:
    logs.configure_pod(container="worker")
    asyncio.run(run(from_environment()))


if __name__ == "__main__":
    main()
