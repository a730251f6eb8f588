"""The job's user-model engines: which ones serve now, and generation that survives a dead one."""

import asyncio
import logging
from collections.abc import Sequence
from itertools import count

import aiohttp

from sea_env.tasks import order
from sea_env.users.base import UserUnavailableError
from sea_env.users.model import Generate
from sea_runtime.rollout.engine_client import EngineClient, EngineError

_log = logging.getLogger(__name__)
RETRY_TIMEOUT_SECONDS = 180.0
RETRY_SECONDS = 0.5


class UserPool:
    """The addresses come with every heartbeat's reply."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http
        self._engines: dict[str, EngineClient] = {}
        self._next = 0

    def use(self, addresses: Sequence[str]) -> None:
        """Replaces the set of engines."""
        self._engines = {
            # Known engines keep their client.
            address: self._engines.get(address) or EngineClient(self._http, address)
            for address in addresses
        }

    def generator(self, temperature: float, stop_token_ids: Sequence[int], seed: int) -> Generate:
        """A generate function for one episode; it keeps to one engine for its prefix cache.

        `seed` is the episode's; each turn has one of its own.
        """
        self._next += 1
        place, turns = self._next, count()

        async def generate(prompt: Sequence[int], max_tokens: int) -> Sequence[int]:
            of_turn = order.sampling_seed(seed, "user", next(turns))
            return await self._generate(
                place, prompt, max_tokens, temperature, stop_token_ids, of_turn
            )

        return generate

    async def _generate(
        self,
        place: int,
        prompt: Sequence[int],
        max_tokens: int,
        temperature: float,
        stop_token_ids: Sequence[int],
        seed: int,
    ) -> Sequence[int]:
        loop = asyncio.get_running_loop()
        deadline, problem = loop.time() + RETRY_TIMEOUT_SECONDS, "no engine serves yet"
        while loop.time() < deadline:
            # Read again for every try: `use` may have replaced the set during the wait.
            engines = list(self._engines.values())
            if engines:
                engine = engines[place % len(engines)]
                # Another engine for each retry; without an error an episode stays with its first
                # one.
                place += 1
                try:
                    answer = await engine.generate(
                        prompt,
                        max_tokens=max_tokens,
                        temperature=temperature,
                        stop_token_ids=stop_token_ids,
                        seed=seed,
                    )
                except EngineError as error:
                    problem = str(error)
                else:
                    return answer.token_ids
            await asyncio.sleep(RETRY_SECONDS)
        raise UserUnavailableError(
            f"The user model did not answer for {RETRY_TIMEOUT_SECONDS:.0f} s: {problem}."
        )
