"""Background loops: each a level-triggered pass over what is missing, repeated forever.

A kill between any two steps of a pass costs nothing but the repetition.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from sea_api.errors import SeaError
from sea_data import urls
from sea_data.object_store import StoreError
from sea_runtime.coordinator.job import Job
from sea_runtime.coordinator.problems import Problems, Source
from sea_runtime.store.s3 import ObjectStore

log = logging.getLogger(__name__)

PROBE_SECONDS = 5.0
AFTER_ERROR_SECONDS = 3.0


async def forever(source: Source, step: Callable[[], Awaitable[None]], problems: Problems) -> None:
    """Repeats a pass; one that fails is logged, reported and tried again."""
    while True:
        try:
            await step()
        # CancelledError isn't an Exception: a shutdown passes through both handlers.
        except SeaError as error:
            if problems.failed(source, error):
                log.warning("%s: %s", source.value, error)
            await asyncio.sleep(AFTER_ERROR_SECONDS)
        except Exception as error:
            log.exception("the pass over %s failed; it starts again", source.value)
            problems.failed(source, error)
            await asyncio.sleep(AFTER_ERROR_SECONDS)
        else:
            problems.passed(source)


class StoreProbe:
    """Whether the object store answers, for `/readyz`.

    Args:
        store: a client that does not retry.
    """

    def __init__(self, job: Job, store: ObjectStore) -> None:
        self._job, self._store = job, store
        self.reachable = True

    async def look(self) -> None:
        """One request to the store, then a pause."""
        self.reachable = await asyncio.to_thread(self._answers)
        await asyncio.sleep(PROBE_SECONDS)

    def _answers(self) -> bool:
        known = self._job.known
        # Before the first spec there is no address to ask.
        if known is None:
            return True
        try:
            # Any key will do: "not found" is an answer, and it costs no listing.
            self._store.exists(urls.join(known.run_url, "base", "READY.json"))
        except StoreError as error:
            log.warning("the object store does not answer: %s", error)
            return False
        return True
