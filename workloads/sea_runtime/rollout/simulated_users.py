"""The user of one episode, by the lease's settings: scripted, a user engine, or external."""

import os
from collections.abc import Sequence
from typing import Any

import aiohttp

from sea_api.contract import Env
from sea_env.chat import Address, ChatEndpoint
from sea_env.domains import registry
from sea_env.domains.base import Tool
from sea_env.tasks.task import Task
from sea_env.tokens.renderer import Renderer
from sea_env.users.base import User, task_user_tools
from sea_env.users.model import ModelUser
from sea_env.users.openai_chat import ExternalUser
from sea_env.users.scripted import ScriptedUser
from sea_runtime.errors import RuntimeFailure
from sea_runtime.rollout.user_pool import UserPool
from sea_runtime.wire.rollouts import Lease


class UnknownUserEngineError(RuntimeFailure):
    """A lease names an engine that this worker doesn't know: coordinator and worker differ."""


class SimulatedUsers:
    """Creates one user per episode."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        pool: UserPool,
        renderer: Renderer,
        context_length: int,
    ) -> None:
        """`renderer` and `context_length` are the user model's."""
        self._http, self._pool = http, pool
        self._renderer, self._context_length = renderer, context_length

    def user(self, lease: Lease, task: Task) -> User:
        """Raises UnknownUserEngineError."""
        scenario: dict[str, Any] = dict(task.scenario)
        tools = task_user_tools(registry.get(task.domain), task)
        if lease.user.engine == "Scripted":
            return ScriptedUser(scenario, lease.seed, tools)
        if lease.user.engine == "VLLM":
            return self._model(lease, scenario, tools)
        if lease.user.engine == "External":
            return self._external(lease, scenario, tools)
        raise UnknownUserEngineError(f"There is no user engine {lease.user.engine!r}.")

    def _model(self, lease: Lease, scenario: dict[str, Any], tools: Sequence[Tool]) -> User:
        generate = self._pool.generator(lease.user.temperature, [self._renderer.end_id], lease.seed)
        return ModelUser(
            scenario,
            self._renderer,
            generate,
            context_length=self._context_length,
            max_tokens=lease.user.max_tokens,
            tools=tools,
        )

    def _external(self, lease: Lease, scenario: dict[str, Any], tools: Sequence[Tool]) -> User:
        if not lease.user.url or not lease.user.model:
            raise UnknownUserEngineError("An External user needs userModel.url and model.")
        address = Address(
            url=lease.user.url,
            model=lease.user.model,
            api_key=os.environ.get(Env.USER_API_KEY, ""),
            temperature=lease.user.temperature,
            max_tokens=lease.user.max_tokens,
        )
        return ExternalUser(scenario, ChatEndpoint(self._http, address), tools)
