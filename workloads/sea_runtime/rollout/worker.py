"""`python -m sea_runtime.rollout.worker`: the worker container beside an engine.

Both roles: watch the engine, keep its weights new, answer probes, send heartbeats. Role rollout
also runs episodes. SIGTERM gives all leases back and ends within seconds.
"""

import asyncio
import logging
import signal
import uuid
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from sea_api.contract import ENGINE_PORT, role_label
from sea_api.v1alpha1.policy import Role
from sea_env.tokens.renderer import Renderer
from sea_env.tokens.style import call_format
from sea_env.verify.sandbox.pool import Sandboxes
from sea_runtime.client.aio import AsyncCoordinatorClient
from sea_runtime.client.errors import CoordinatorError
from sea_runtime.rollout import base_model, engine_client, health
from sea_runtime.rollout.agent_loop import AgentLoop
from sea_runtime.rollout.databases import Databases
from sea_runtime.rollout.engine_client import EngineClient
from sea_runtime.rollout.engine_state import EngineState
from sea_runtime.rollout.episode_runner import EpisodeRunner, Identity
from sea_runtime.rollout.heartbeat import beat
from sea_runtime.rollout.policy import Policy
from sea_runtime.rollout.scoring import Scoring
from sea_runtime.rollout.settings import Settings, from_environment
from sea_runtime.rollout.simulated_users import SimulatedUsers
from sea_runtime.rollout.updater import Updater
from sea_runtime.rollout.user_pool import UserPool
from sea_runtime.rollout.watcher import watch
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.wire.weights import ModelReply

_log = logging.getLogger(__name__)
_MODEL_POLL_S = 0.5


class Worker:
    """Everything that runs in the process, wired together."""

    def __init__(
        self, settings: Settings, client: AsyncCoordinatorClient, http: aiohttp.ClientSession
    ) -> None:
        self.settings, self.client, self.http = settings, client, http
        self.identity = Identity(settings.pod, uuid.uuid4().hex)
        self.state = EngineState()
        self.engine = EngineClient(http, f"http://{settings.address}:{ENGINE_PORT}")
        self.pool = UserPool(http)
        self.updater = Updater(client, self.engine, self.state, settings.stream, settings.pod)
        self.loop: AgentLoop | None = None

    def tasks(self) -> list[Coroutine[Any, Any, None]]:
        """What runs until SIGTERM."""
        always = [
            watch(self.engine, self.state),
            self.updater.run(),
            beat(self.client, self.settings, self.identity, self.state, self.pool),
        ]
        runs_episodes = self.settings.role == role_label(Role.ROLLOUT)
        return always + ([self.episodes()] if runs_episodes else [])

    async def episodes(self) -> None:
        """Prepares the agent loop (tokenizers come with the base models), then runs it."""
        store = ObjectStore()
        policy, _ = await self._renderer(store, "policy")
        user, context_length = await self._renderer(store, "user")
        users = SimulatedUsers(self.http, self.pool, user, context_length)
        sandboxes = Sandboxes()
        runner = EpisodeRunner(
            self.identity,
            Policy(self.engine, self.state),
            policy,
            users,
            Databases(store),
            Scoring(self.http, sandboxes),
        )
        self.loop = AgentLoop(self.client, self.state, self.identity, runner.run)
        try:
            await self.loop.run()
        finally:
            await sandboxes.close()

    async def _renderer(self, store: ObjectStore, stream: str) -> tuple[Renderer, int]:
        reply = await self._model(stream)
        target = self.settings.data_dir / f"tokenizer-{stream}"
        await asyncio.to_thread(base_model.fetch_tokenizer, store, reply.url, target)
        return Renderer.load(target, call_format(reply.tool_format)), reply.context_length

    async def _model(self, stream: str) -> ModelReply:
        while True:
            try:
                reply = await self.client.model(stream)
            except CoordinatorError as error:
                _log.warning("%s", error)
                reply = None
            if reply is not None:
                return reply
            await asyncio.sleep(_MODEL_POLL_S)


@asynccontextmanager
async def _stop_signal() -> AsyncIterator[asyncio.Event]:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    yield stop


async def run(settings: Settings) -> None:
    """Serves until SIGTERM; a task that ends by itself ends the worker with its error."""
    client = AsyncCoordinatorClient(settings.coordinator_url, settings.token)
    async with client, engine_client.session() as http, _stop_signal() as stop:
        worker = Worker(settings, client, http)
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
            await asyncio.gather(*tasks, stopping, return_exceptions=True)
            if worker.loop is not None:
                await worker.loop.give_back()
            await server.cleanup()


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    asyncio.run(run(from_environment()))


if __name__ == "__main__":
    main()
