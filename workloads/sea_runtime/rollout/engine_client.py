"""One vLLM engine over HTTP: generation, and the steps of a weight update.

Used by the worker for its own engine and for user-model engines. Every call has a time-out. An
answer to `POST /inference/v1/generate` is read into per-token arrays (`Generation`).
"""

import base64
import binascii
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import aiohttp
import msgspec
import numpy as np

from sea_runtime.errors import RuntimeFailure
from sea_runtime.wire.weights import PrefetchStatus, ShardLayout, WeightVersion, WorkerCopy

MIN_LOGPROB, MAX_LOGPROB = -1000.0, 1e-3
"""Of a token that was drawn, rounding included."""


class MalformedGenerationError(ValueError):
    """The engine's answer lacks tokens, log-probabilities or weight versions."""


@dataclass(frozen=True)
class Generation:
    """Generated tokens; the three lists have the same length."""

    token_ids: list[int]
    logprobs: list[float]
    versions: list[int]
    """The weight version that produced each token."""
    finish_reason: str
    experts: tuple[bytes, ...] = ()
    """The experts that computed each token from the first one asked for to the last but one of
    `token_ids`, as in `Trajectory.experts`; empty unless asked for."""


class _TokenLogprob(msgspec.Struct):
    logprob: float


class _Logprobs(msgspec.Struct):
    content: list[_TokenLogprob]


class _Span(msgspec.Struct):
    """Tokens start..end-1 came from one version."""

    version: str
    start: int
    end: int


class _Choice(msgspec.Struct):
    token_ids: list[int]
    finish_reason: str | None
    logprobs: _Logprobs | None = None
    weight_versions: list[_Span] | None = None
    routed_experts: str | None = None
    """Base64 of a .npy file: [tokens, layers, k]."""


class _Reply(msgspec.Struct):
    choices: list[_Choice]


_decoder = msgspec.json.Decoder(_Reply)


class ServedVersion(NamedTuple):
    """The weight version that an engine serves; number 0 is the base model."""

    number: int
    attempt: int = 0
    """Of the trainer that published it."""

    def label(self) -> str:
        """What vLLM calls the weights: in its own state, so that a worker that restarts next to a
        living engine knows both."""
        return f"{self.number}@{self.attempt}"

    @classmethod
    def of(cls, label: str) -> "ServedVersion":
        """Of vLLM's label; `default` is the base model that it loaded from disk."""
        if label == "default":
            return cls(0)
        number, _, attempt = label.partition("@")
        return cls(int(number), int(attempt or 0))


def versions_of(spans: Sequence[_Span], length: int) -> list[int]:
    """One version per token; raises MalformedGenerationError if spans leave a gap."""
    versions: list[int] = []
    for span in spans:
        if span.start != len(versions):
            raise MalformedGenerationError(f"Weight version spans have a gap at {span.start}.")
        versions += [ServedVersion.of(span.version).number] * (span.end - span.start)
    if len(versions) != length:
        raise MalformedGenerationError(
            f"Weight version spans cover {len(versions)} of {length} tokens."
        )
    return versions


def experts_of(routed: str | None, tokens: int) -> tuple[bytes, ...]:
    """What the routers chose for each of so many tokens; raises MalformedGenerationError."""
    if routed is None:
        raise MalformedGenerationError(
            "The experts that it chose are missing: it was started without rollout.routerReplay."
        )
    try:
        found = np.load(io.BytesIO(base64.b64decode(routed)), allow_pickle=False)
    except (binascii.Error, ValueError, EOFError) as error:
        raise MalformedGenerationError(f"The experts it chose can't be read: {error}.") from error
    if found.ndim != 3 or len(found) != tokens or found.dtype not in ("u1", "<u2"):
        raise MalformedGenerationError(
            f"The experts it chose are {found.dtype} {found.shape} for {tokens} tokens."
        )
    # Megatron counts on as many different experts per token as the model has.
    ordered = np.sort(found, axis=-1)
    if (ordered[..., 1:] == ordered[..., :-1]).any():
        raise MalformedGenerationError("It chose one expert twice for a token.")
    return tuple(row.tobytes() for row in found)


def parse_generation(body: bytes, computed: int | None = None) -> Generation:
    """Reads an answer, with the experts if `computed` is given: of so many tokens of the prompt,
    and of all new ones but the last, which no pass has computed.

    Raises MalformedGenerationError for anything that can't be trained on.
    """
    try:
        choice = _decoder.decode(body).choices[0]
    except (msgspec.MsgspecError, IndexError) as error:
        raise MalformedGenerationError(f"The engine's answer can't be read: {error}") from error
    logprobs = [] if choice.logprobs is None else [t.logprob for t in choice.logprobs.content]
    # vLLM may leave log-probabilities out without an error; such tokens can't be trained on.
    if len(logprobs) != len(choice.token_ids):
        raise MalformedGenerationError(
            f"{len(logprobs)} log-probabilities for {len(choice.token_ids)} tokens."
        )
    # vLLM writes -9999 for minus infinity, which no sampled token has.
    odd = next((p for p in logprobs if not MIN_LOGPROB < p <= MAX_LOGPROB), None)
    if odd is not None:
        raise MalformedGenerationError(f"{odd:g} is no log-probability of a token that was drawn.")
    versions = versions_of(choice.weight_versions or [], len(choice.token_ids))
    experts: tuple[bytes, ...] = ()
    if computed is not None and choice.token_ids:
        experts = experts_of(choice.routed_experts, computed + len(choice.token_ids) - 1)
    return Generation(choice.token_ids, logprobs, versions, choice.finish_reason or "", experts)


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
            raise EngineError(f"{method} {self.url}{path}: {error!r}") from error
        if reply.status >= 300:
            text = content[:500].decode(errors="replace")
            # 4xx is the request's fault: the same request would be refused again.
            kind = EngineError if reply.status >= 500 else EngineRefusedError
            raise kind(f"{method} {self.url}{path} answered {reply.status}: {text}")
        return content
