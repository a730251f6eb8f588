"""Keeps the ends of logs that would go with their pods: from the API server to the coordinator.

Which ones is decided in `policies/last_logs.py`. What can't be read or stored is logged and given
up after a few tries: a log never holds a pass up for longer than `MAX_SECONDS`, and stops nothing.
"""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sea_api.contract import LOG_BYTES
from sea_operator.attempts import known_attempt
from sea_operator.cache import Key
from sea_operator.coordinator_link import CoordinatorLink
from sea_operator.coordinator_spec import run_url
from sea_operator.errors import CoordinatorRefusedError, KubeError, NotLeadingError, RejectedError
from sea_operator.kube.client import MAX_LOG_BYTES, KubeClient
from sea_operator.observed import Observed
from sea_operator.plan import Plan
from sea_operator.policies import last_logs
from sea_operator.policies.last_logs import LastLog

log = logging.getLogger(__name__)

MAX_SECONDS = 20.0
"""Time of a pass for all logs together."""
MAX_TRIES = 3
RETRY_SECONDS = 1.0
AT_ONCE = 4
LINES = (2000, 200, 20)
"""How many are asked for: fewer if they are so long that the answer is cut before the last."""


@dataclass
class _Kept:
    """What was done about a job's logs."""

    done: set[LastLog] = field(default_factory=set)
    """Stored, or given up."""
    tries: dict[LastLog, int] = field(default_factory=dict)
    places: dict[str, LastLog] = field(default_factory=dict)
    """What is stored of each pod: of its failure, if it failed, else of its end."""

    def stored(self, one: LastLog) -> None:
        self.done.add(one)
        self.tries.pop(one, None)
        known = self.places.get(one.pod)
        if known is None or one.failed or known.attempt < one.attempt:
            self.places[one.pod] = one


class LogKeeper:
    """Reads and stores each log once; a new operator starts over, which replaces equal by equal."""

    def __init__(self, client: KubeClient, link: CoordinatorLink) -> None:
        self._client, self._link = client, link
        self._jobs: dict[Key, _Kept] = {}

    def forget(self, key: Key) -> None:
        """There is no such job any more."""
        self._jobs.pop(key, None)

    def waits(self, key: Key) -> bool:
        """Whether a log is tried again by the next pass."""
        return key in self._jobs and bool(self._jobs[key].tries)

    def _tried(self, observed: Observed) -> tuple[LastLog, ...]:
        kept = self._jobs.get(_key(observed))
        return tuple(kept.tries) if kept else ()

    async def with_failed(self, observed: Observed) -> Observed:
        """Keeps the logs of what has failed; the observation with the places of all of them."""
        attempt, spec = known_attempt(observed), observed.job.spec
        await self.keep(observed, last_logs.of_failed(observed, attempt))
        kept = self._jobs.get(_key(observed))
        if kept is None or spec is None:
            return observed
        # Of this attempt only: what follows is about its failures.
        found = [one for one in kept.places.values() if one.attempt == attempt]
        root = run_url(observed.job, spec)
        return replace(observed, logs={one.pod: f"{root}/{one.path}" for one in found})

    async def keep_going(self, observed: Observed, plan: Plan) -> None:
        """Keeps the logs of pods that this plan removes; retries now, since no later pass can."""
        logs = last_logs.of_going(observed, plan)
        # As in `keep`, which leaves tries of an earlier pass as they are then.
        if observed.state is None or observed.token is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(MAX_SECONDS):
                await self.keep(observed, logs)
                while any(one in logs for one in self._tried(observed)):
                    await asyncio.sleep(RETRY_SECONDS)
                    await self.keep(observed, logs)
        if kept := self._jobs.get(_key(observed)):
            for one in set(logs) - kept.done:
                _count(kept, one, f"no answer within {MAX_SECONDS:.0f} s", final=True)

    async def keep(self, observed: Observed, logs: Sequence[LastLog]) -> None:
        """Stores those that aren't stored yet, as far as there is time."""
        # Without an answer of the coordinator there is no way to the object store.
        if not logs or observed.state is None or observed.token is None:
            return
        kept = self._jobs.setdefault(_key(observed), _Kept())
        there = {pod.uid for pod in observed.pods}
        kept.done = {one for one in kept.done if one.uid in there}
        due = [one for one in logs if one not in kept.done]
        kept.tries = {one: times for one, times in kept.tries.items() if one in due}
        slots = asyncio.Semaphore(AT_ONCE)
        try:
            async with asyncio.timeout(MAX_SECONDS):
                await asyncio.gather(*(self._try(observed, kept, one, slots) for one in due))
        except TimeoutError:
            for one in due:
                if one not in kept.done:
                    _count(kept, one, f"no answer within {MAX_SECONDS:.0f} s", final=False)

    async def _try(
        self, observed: Observed, kept: _Kept, one: LastLog, slots: asyncio.Semaphore
    ) -> None:
        async with slots:
            try:
                await self._store(observed, one)
            except NotLeadingError:
                raise
            except (KubeError, CoordinatorRefusedError) as error:
                _count(kept, one, str(error), final=isinstance(error, RejectedError))
                return
        kept.stored(one)

    async def _store(self, observed: Observed, one: LastLog) -> None:
        job, token = observed.job, observed.token
        assert token is not None
        text = await self._read(job.namespace, one)
        # Not a request to the API server, so no guard asks by itself whether we still lead.
        self._client.check()
        await self._link.keep_log(job, observed.pods, token, one, text[-LOG_BYTES:])

    async def _read(self, namespace: str, one: LastLog) -> bytes:
        text = b""
        for lines in LINES:
            text = await self._client.log(
                namespace, one.pod, one.container, previous=one.previous, lines=lines
            )
            if len(text) < MAX_LOG_BYTES:
                break
        return text


def _count(kept: _Kept, one: LastLog, why: str, *, final: bool) -> None:
    """A log that could not be kept: tried again, or given up with a line in our own log."""
    times = kept.tries.get(one, 0) + 1
    if final or times >= MAX_TRIES:
        log.warning("The log of container %s of pod %s is lost: %s", one.container, one.pod, why)
        kept.done.add(one)
        kept.tries.pop(one, None)
    else:
        kept.tries[one] = times


def _key(observed: Observed) -> Key:
    return observed.job.namespace, observed.job.name
