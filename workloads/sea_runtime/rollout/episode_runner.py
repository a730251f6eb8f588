"""One lease -> one EpisodeResult: opens the environment, lets agent and user talk, verifies it.

The rules of the dialogue are in `sea_env.episodes` (pure); its effects are here. The agent's turns
come from the pod's own engine, through updates, restarts and deaths of that engine (`Sampler`).
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Protocol

import msgspec

from sea_api.errors import SeaError
from sea_data.formats import rl
from sea_env.domains import registry
from sea_env.domains.base import Domain
from sea_env.domains.registry import UnknownDomainError
from sea_env.episodes.conversation import open_conversation
from sea_env.episodes.episode import Done, Episode, NeedUser
from sea_env.episodes.limits import Limits, Stop, never_asked
from sea_env.tasks import order
from sea_env.tasks.task import Task
from sea_env.tokens.renderer import Renderer
from sea_env.users.base import User
from sea_env.verify.verdict import Verdict
from sea_runtime.errors import RuntimeFailure
from sea_runtime.rollout.databases import Databases
from sea_runtime.rollout.engine_client import EngineClient, EngineError, EngineRefusedError
from sea_runtime.rollout.engine_state import EngineState
from sea_runtime.rollout.generation import Generation
from sea_runtime.rollout.scoring import Scoring, details_of
from sea_runtime.rollout.settings import Identity
from sea_runtime.wire.rollouts import (
    MAX_EXPERT_BYTES,
    EpisodeKind,
    EpisodeResult,
    Lease,
    Trajectory,
)

_log = logging.getLogger(__name__)
# Enough for an engine that restarts, loads its model and fetches the newest weights.
ENGINE_WAIT_SECONDS = 900.0
MAX_ATTEMPTS = 6
"""Per turn: a request that kills the engine each time must not do so forever."""


class SamplingError(RuntimeFailure):
    """The engine did not come back, or refuses the request: the episode has no verdict."""

    permanent = False


def acceptable(generation: Generation, required: int) -> bool:
    """True if a turn may be kept: it is finished, and by a version that was still allowed.

    A restarted engine answers with the base model until it is updated again.
    """
    # "abort" and "error" are turns that vLLM cut off at an arbitrary token.
    if generation.finish_reason not in {"stop", "length"}:
        return False
    return bool(generation.versions) and min(generation.versions) >= required


class Sampler:
    """Turns of the agent. A turn whose engine died is generated again; earlier turns stay."""

    def __init__(self, engine: EngineClient, state: EngineState) -> None:
        self._engine, self._state = engine, state

    async def generate(
        self,
        prompt: Sequence[int],
        *,
        max_tokens: int,
        temperature: float,
        stop_token_ids: Sequence[int],
        seed: int,
        experts_from: int | None = None,
    ) -> Generation:
        """As `EngineClient.generate`. Raises SamplingError."""
        problem = ""
        for _ in range(MAX_ATTEMPTS):
            # Before each try: the smallest allowed version may have grown since the last one.
            required = await self._ready()
            try:
                answer = await self._engine.generate(
                    prompt,
                    max_tokens=max_tokens,
                    temperature=temperature,
                    stop_token_ids=stop_token_ids,
                    seed=seed,
                    experts_from=experts_from,
                )
            except EngineRefusedError as error:
                raise SamplingError(f"The engine refuses a turn: {error}") from error
            except EngineError as error:
                problem = str(error)
            else:
                if acceptable(answer, required):
                    return answer
                problem = f"it ended with {answer.finish_reason!r}, or with an old weight version"
            _log.info("A turn is generated again: %s", problem)
            # Not ready until the watcher has seen which version the engine really serves.
            self._state.lost()
        raise SamplingError(f"A turn failed {MAX_ATTEMPTS} times, most recently: {problem}.")

    async def _ready(self) -> int:
        try:
            return await asyncio.wait_for(self._state.wait_ready(), ENGINE_WAIT_SECONDS)
        except TimeoutError as error:
            raise SamplingError(
                f"The engine was not ready for {ENGINE_WAIT_SECONDS:.0f} s "
                f"(serves {self._state.version}, required {self._state.required})."
            ) from error


class Users(Protocol):
    """Makes the user of one episode."""

    def user(self, lease: Lease, task: Task) -> User: ...


class NoDatabaseError(RuntimeFailure):
    """The lease's row names no database."""


_WHERE = "It must be in the image of the rollout pods (spec.rollout.template.image)."


class EpisodeRunner:
    """Runs episodes; safe for many at a time on one event loop."""

    def __init__(
        self,
        identity: Identity,
        sampler: Sampler,
        renderer: Renderer,
        users: Users,
        databases: Databases,
        scoring: Scoring,
        *,
        router_replay: bool = False,
    ) -> None:
        """`router_replay`: trajectories say which experts computed their tokens."""
        self._identity, self._sampler, self._renderer = identity, sampler, renderer
        self._users, self._databases, self._scoring = users, databases, scoring
        self._router_replay = router_replay

    async def run(self, lease: Lease) -> EpisodeResult:
        """Never raises: an episode without a verdict has reward None and a sentence."""
        started = time.monotonic()
        try:
            # Inside the try: a lease that names what this image lacks must still get a report.
            domain = registry.get(lease.domain)
            task = rl.task(lease.task, lease.domain)
            episode = await self._open(lease, domain, task)
            # Of the dialogue alone: the verdict's own requests have time-outs, and a finished
            # dialogue must not be lost to a busy judge.
            async with asyncio.timeout(lease.timeout_s):
                stop = await self._talk(episode, self._users.user(lease, task), lease)
            if not episode.turns:
                silent = self._unjudged(lease, never_asked(stop), started)
                return msgspec.structs.replace(
                    silent, stop=str(stop), transcript=episode.transcript
                )
            # Read after the dialogue: the verdict is about the state that it left.
            environment = episode.conversation.environment
            verdict = await self._scoring.verdict(
                lease, domain, task, environment, episode.transcript, stop
            )
        # Before SeaError, of which it is one, to add where the domain is expected.
        except UnknownDomainError as error:
            return self._unjudged(lease, f"{error} {_WHERE}", started)
        except SeaError as error:
            return self._unjudged(lease, f"{error}", started)
        except TimeoutError:
            problem = f"The episode took longer than episodeTimeoutSeconds ({lease.timeout_s:g} s)."
            return self._unjudged(lease, problem, started)
        except Exception as error:
            # Not one of ours: a bug, so its trace is logged.
            _log.exception("Episode %s failed.", lease.lease_id)
            return self._unjudged(lease, f"The episode failed: {error!r}", started)
        return self._judged(lease, episode, stop, verdict, started)

    def _judged(
        self, lease: Lease, episode: Episode, stop: Stop, verdict: Verdict, started: float
    ) -> EpisodeResult:
        trajectory = Trajectory.pack(
            episode.tokens,
            episode.mask,
            episode.logprobs,
            episode.versions,
            episode.starts,
            _bounded(episode.experts_of_all()),
        )
        return EpisodeResult(
            lease_id=lease.lease_id,
            pod=self._identity.pod,
            incarnation=self._identity.incarnation,
            reward=verdict.reward,
            error="",
            # Decoded by the trainer only: the coordinator reads the fields around it.
            trajectory=trajectory.encode(),
            mean_version=trajectory.mean_version(),
            generated_tokens=episode.generated,
            turns=episode.turns,
            stop=str(stop),
            transcript=episode.transcript,
            seconds=time.monotonic() - started,
            details=details_of(verdict),
        )

    async def _open(self, lease: Lease, domain: Domain, task: Task) -> Episode:
        if lease.database is None:
            raise NoDatabaseError(
                f"The task of lease {lease.lease_id} names no database: give its row a db_path."
            )
        data = await self._databases.load(domain, lease.database)
        limits = Limits(
            max_turns=lease.max_turns,
            max_tokens_per_turn=lease.max_tokens_per_turn,
            context_length=lease.context_length,
            max_repeats=lease.max_repeats,
            max_messages=lease.max_messages,
            max_tool_errors=lease.max_tool_errors,
            greeting=lease.greeting,
        )
        conversation = open_conversation(domain, data.database, task, limits)
        return Episode(conversation, self._renderer, data.system_prompt, limits)

    async def _talk(self, episode: Episode, user: User, lease: Lease) -> Stop:
        # Nothing trains on an evaluation.
        records = self._router_replay and lease.kind is EpisodeKind.TRAIN
        effect = episode.start()
        while not isinstance(effect, Done):
            if isinstance(effect, NeedUser):
                effect = episode.on_user(await user.reply(effect.heard))
                continue
            turn = await self._sampler.generate(
                effect.prompt,
                max_tokens=effect.max_tokens,
                temperature=lease.temperature,
                # The end tag stays in the ids: the agent is trained to write it.
                stop_token_ids=[self._renderer.end_id],
                # Of the episode and the turn: trials of a task and trajectories of a group are
                # independent, and a turn that is generated again comes out the same.
                seed=order.sampling_seed(lease.seed, "agent", episode.turns),
                experts_from=effect.recorded if records else None,
            )
            effect = episode.on_agent(turn.token_ids, turn.logprobs, turn.versions, turn.experts)
        return effect.stop

    def _unjudged(self, lease: Lease, error: str, started: float) -> EpisodeResult:
        return EpisodeResult(
            lease_id=lease.lease_id,
            pod=self._identity.pod,
            incarnation=self._identity.incarnation,
            reward=None,
            error=error,
            trajectory=None,
            generated_tokens=0,
            turns=0,
            stop="",
            transcript=[],
            seconds=time.monotonic() - started,
            details={},
        )


def _bounded(experts: Sequence[bytes]) -> Sequence[bytes]:
    """None of them if they are more than a result may have: the trainer's routers choose then.

    A context of them never is (`coordinator/model_fit.py`), but with stripped thoughts each
    exchange repeats those before it.
    """
    size = sum(map(len, experts))
    if size <= MAX_EXPERT_BYTES:
        return experts
    _log.warning("A trajectory's chosen experts have %d MB and are left out.", size // 10**6)
    return ()
