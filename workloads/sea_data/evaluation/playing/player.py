"""One episode from the first word to the verdict, played again where infrastructure broke it."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from sea_data.evaluation.playing.agent import Agent
from sea_data.evaluation.playing.tasks import World
from sea_data.evaluation.playing.trials import Trial
from sea_data.evaluation.records import EpisodeRecord, description
from sea_env.domains.base import Domain
from sea_env.endpoint_errors import ContextFullError, EndpointError, RefusedError
from sea_env.episodes.conversation import Conversation, Over, UserNext, open_conversation
from sea_env.episodes.limits import Limits, Stop, never_asked
from sea_env.users.base import User, UserUnavailableError
from sea_env.verify.judge import JudgeUnavailableError
from sea_env.verify.sandbox.process import SandboxError
from sea_env.verify.verdict import Verdict, Verifier

_log = logging.getLogger(__name__)

INFRASTRUCTURE = (
    EndpointError,
    JudgeUnavailableError,
    SandboxError,
    TimeoutError,
    UserUnavailableError,
)
"""Errors that say nothing about the agent: the episode has no verdict and is played again."""


@dataclass(frozen=True)
class Cast:
    """Makes the agent and the user of each episode."""

    agent: Callable[[Trial, World], Agent]
    user: Callable[[Trial], User]


class Player:
    """Plays episodes; safe for many at a time on one event loop."""

    def __init__(
        self,
        domain: Domain,
        cast: Cast,
        verifier: Verifier,
        limits: Limits,
        *,
        attempts: int = 3,
        timeout_s: float = 1800.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`attempts` and `timeout_s` are of one episode."""
        self._domain, self._cast, self._verifier, self._limits = domain, cast, verifier, limits
        self._attempts, self._timeout_s, self._clock = attempts, timeout_s, clock

    async def play(self, trial: Trial, world: World) -> EpisodeRecord:
        """Plays until there is a verdict; without one the record has an error and no reward."""
        problem, attempt = "", 0
        while attempt < self._attempts:
            attempt += 1
            try:
                async with asyncio.timeout(self._timeout_s):
                    return await self._once(trial, world, attempt)
            except INFRASTRUCTURE as error:
                problem = str(error) or f"The episode took longer than {self._timeout_s:g} s."
                # Asked once more the endpoint would refuse once more.
                if isinstance(error, RefusedError):
                    break
            except Exception as error:
                _log.exception("The episode %s, trial %d, broke.", trial.task.key, trial.number)
                problem = f"The episode broke: {error!r}"
                break
        return self._record(trial, world, attempt, reward=None, error=problem)

    async def _once(self, trial: Trial, world: World, attempt: int) -> EpisodeRecord:
        started = self._clock()
        agent, user = self._cast.agent(trial, world), self._cast.user(trial)
        conversation = open_conversation(self._domain, world.database, trial.task, self._limits)
        stop = await talk(conversation, agent, user)
        if not conversation.turns:
            # Not played again here: with the same seed the user would do the same.
            return self._record(
                trial,
                world,
                attempt,
                reward=None,
                error=never_asked(stop),
                stop=str(stop),
                seconds=round(self._clock() - started, 3),
                transcript=tuple(conversation.messages),
            )
        verdict = await self._verifier.verify(
            self._domain, trial.task, conversation.environment, conversation.messages, stop
        )
        return self._record(
            trial,
            world,
            attempt,
            reward=verdict.reward,
            stop=str(stop),
            turns=conversation.turns,
            generated_tokens=getattr(agent, "tokens", 0),
            seconds=round(self._clock() - started, 3),
            details=details(verdict),
            transcript=tuple(conversation.messages),
        )

    def _record(self, trial: Trial, world: World, attempt: int, **result: object) -> EpisodeRecord:
        fields = {
            "domain": trial.task.domain,
            "task": trial.task.id,
            "row": trial.task.key,
            "trial": trial.number,
            "seed": trial.seed,
            "attempts": attempt,
            "database": world.source,
            **description(trial.task.row),
            **result,
        }
        return EpisodeRecord(**fields)  # type: ignore[arg-type]


async def talk(conversation: Conversation, agent: Agent, user: User) -> Stop:
    """Lets the two talk until the dialogue is over; returns why it is."""
    following = conversation.start()
    while not isinstance(following, Over):
        if isinstance(following, UserNext):
            following = conversation.user(await user.reply(following.heard))
            continue
        try:
            following = conversation.agent(await agent.turn(conversation.messages))
        except ContextFullError:
            return Stop.CONTEXT_FULL
    return following.stop


def details(verdict: Verdict) -> dict[str, object]:
    """The parts by name and, where a function or a judge gave any, their reasons."""
    reasons = {"reasons": dict(verdict.reasons)} if verdict.reasons else {}
    return {**verdict.parts, **reasons}
