"""One vLLM engine over HTTP: generation, and the steps of a weight update.

Used by the worker for its own engine and for user-model engines. Every call has a time-out.
"""

import json
from collections.abc import Sequence
from typing import Any

import aiohttp

from sea_runtime.errors import RuntimeFailure
from sea_runtime.rollout.generation import (
    Generation,
    MalformedGenerationError,
    ServedVersion,
    parse_generation,
)
from sea_runtime.wire.weights import PrefetchStatus, ShardLayout, WeightVersion, WorkerCopy

VERSION_TIMEOUT_SECONDS = 5.0
"""Short: the watcher notices by it that the engine is down."""
CONTROL_TIMEOUT_SECONDS = 30.0
# A large model is copied within it, and compared.
APPLY_TIMEOUT_SECONDS = 300.0
# Long: a request stays open while the engine is paused, and behind all the others of its queue.
GENERATE_TIMEOUT_SECONDS = 1800.0


class EngineError(RuntimeFailure):
    """The engine does not answer, failed while serving (5xx), or answered something unreadable."""

    permanent = False


class EngineTimeoutError(EngineError):
    """The engine did not answer in time; it may be busy, and may still do what it was asked."""


class EngineRefusedError(EngineError):
    """The engine rejects the request (4xx)."""

    permanent = True


def session() -> aiohttp.ClientSession:
    """A session with unlimited keep-alive connections, shared by everything in a worker."""
    return aiohttp.ClientSession(
        # aiohttp's default limit of 100 connections would let long generations block pause and
        # resume.
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=300.0),
        timeout=aiohttp.ClientTimeout(total=CONTROL_TIMEOUT_SECONDS),
    )


class EngineClient:
    """All methods raise EngineError or one of its kinds."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self.url = url.rstrip("/")

    async def generate(
        self,
        token_ids: Sequence[int],
        *,
        max_tokens: int,
        temperature: float,
        stop_token_ids: Sequence[int],
        seed: int,
        experts_from: int | None = None,
    ) -> Generation:
        """Continues the exact tokens.

        With the same weights, tokens and `seed` the continuation is the same, up to the rounding
        of other requests in the engine's batch.

        Args:
            experts_from: the first token whose experts are wanted; None: of none.
        """
        parameters: dict[str, Any] = {
            "temperature": temperature,
            "max_tokens": max_tokens,
            # 0: of the sampled token only, no alternatives.
            "logprobs": 0,
            "stop_token_ids": list(stop_token_ids),
            "seed": seed,
        }
        computed = None
        if experts_from is not None:
            computed = len(token_ids) - experts_from
            parameters["routed_experts_prompt_start"] = experts_from
        body = {"token_ids": list(token_ids), "sampling_params": parameters}
        reply = await self._call("POST", "/inference/v1/generate", body, GENERATE_TIMEOUT_SECONDS)
        try:
            return parse_generation(reply, computed)
        except MalformedGenerationError as error:
            raise EngineError(f"{self.url}: {error}") from error

    async def version(self) -> ServedVersion:
        """The weight version that the engine serves."""
        reply = await self._json("GET", "/weight_info", None, VERSION_TIMEOUT_SECONDS)
        return ServedVersion.of(reply["weight_version"])

    async def is_paused(self) -> bool:
        return bool((await self._json("GET", "/is_paused"))["is_paused"])

    async def pause(self, *, keep_cache: bool = False) -> None:
        """Freezes running requests between two tokens; they go on after `resume`.

        If this raises, the engine may be paused all the same: `resume` it.

        Args:
            keep_cache: False drops keys and values of all tokens so far, which are computed again.
        """
        # vLLM 0.32's route calls `clear_cache` deprecated and ignored here; its core follows it.
        await self._call("POST", f"/pause?mode=keep&clear_cache={str(not keep_cache).lower()}")

    async def resume(self) -> None:
        await self._call("POST", "/resume")

    async def prefetch(self, version: WeightVersion) -> list[PrefetchStatus]:
        """Starts fetching on every worker of the engine; generation goes on."""
        return self._statuses(await self._rpc("sea_prefetch", version.model_dump_json()))

    async def add_layout(self, digest: str, layout: ShardLayout) -> None:
        """Gives all workers a layout that versions name."""
        await self._rpc("sea_add_layout", digest, layout.model_dump_json())

    async def prefetch_status(self) -> list[PrefetchStatus]:
        return self._statuses(await self._rpc("sea_prefetch_status"))

    async def served_copy(self) -> list[WorkerCopy]:
        """What the workers serve to other engines; empty unless all of them do."""
        found = await self._rpc("sea_served_copy")
        return [WorkerCopy.model_validate_json(one) for one in found] if all(found) else []

    async def is_empty(self) -> bool:
        """True if the engine was started without weights and has had no version yet."""
        return "True" in map(str, await self._rpc("sea_is_empty"))

    async def has_fp8_weights(self) -> bool:
        """True if the engine computes with a folder's FP8 weights: it can take no version."""
        return "True" in map(str, await self._rpc("sea_has_fp8_weights"))

    async def is_applying(self) -> bool:
        """True if an update was started and not finished: the weights are half-loaded."""
        return "True" in await self._rpc("sea_is_applying")

    async def load(self, version: int, attempt: int, *, check: bool) -> list[str]:
        """Loads the prefetched version into the paused model.

        Tokens generated from now on carry `version`, unless something is wrong.

        Args:
            check: compare what the workers then hold with the version.

        Returns:
            Names of the tensors that a worker doesn't hold as the version has them.
        """
        # One call for all that the workers do: requests wait for each of them.
        arguments = (str(version), str(attempt), "check" if check else "")
        timeout = APPLY_TIMEOUT_SECONDS
        found = await self._rpc("sea_load", *arguments, timeout_s=timeout)
        wrong = sorted({name for names in found for name in json.loads(names)})
        if not wrong:
            # Last: with it the engine says that it serves the version.
            label = ServedVersion(version, attempt).label()
            await self._call("POST", "/update_weight_version", {"new_version": label})
        return wrong

    async def terminate(self) -> None:
        """Terminates the engine's processes; its container restarts it with the base model."""
        try:
            await self._rpc("sea_terminate")
        except EngineError:
            return  # it can't answer: its process is gone

    async def _rpc(
        self, method: str, *arguments: str, timeout_s: float = CONTROL_TIMEOUT_SECONDS
    ) -> list[Any]:
        body = {"method": method, "args": list(arguments), "timeout": timeout_s}
        return list((await self._json("POST", "/collective_rpc", body, timeout_s))["results"])

    @staticmethod
    def _statuses(results: list[Any]) -> list[PrefetchStatus]:
        return [PrefetchStatus.model_validate_json(result) for result in results]

    async def _json(
        self,
        method: str,
        path: str,
        body: Any = None,
        timeout_s: float = CONTROL_TIMEOUT_SECONDS,
    ) -> Any:
        return json.loads(await self._call(method, path, body, timeout_s))

    async def _call(
        self,
        method: str,
        path: str,
        body: Any = None,
        timeout_s: float = CONTROL_TIMEOUT_SECONDS,
    ) -> bytes:
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        try:
            async with self._http.request(
                method, self.url + path, json=body, timeout=timeout
            ) as reply:
                content = await reply.read()
        # aiohttp raises asyncio's TimeoutError for `total`, which is no ClientError.
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            kind = EngineTimeoutError if isinstance(error, TimeoutError) else EngineError
            raise kind(f"{method} {self.url}{path}: {error!r}") from error
        if reply.status >= 300:
            text = content[:500].decode(errors="replace")
            # 4xx is the request's fault: the same request would be refused again.
            kind = EngineError if reply.status >= 500 else EngineRefusedError
            raise kind(f"{method} {self.url}{path} answered {reply.status}: {text}")
        return content
