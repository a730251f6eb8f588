"""Many episodes at a time: workers take trials from one list until it is empty.

Each episode goes into the book as it ends, so being cancelled at any moment loses only what was
being played.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence

from sea_data.evaluation.playing.book import Book
from sea_data.evaluation.playing.errors import EndpointUselessError
from sea_data.evaluation.playing.plan import Trial
from sea_data.evaluation.records import EpisodeRecord

LEAST_PATIENCE = 3
Ended = Callable[[EpisodeRecord], None]
Play = Callable[[Trial], Awaitable[EpisodeRecord]]
"""One episode, on its task's world."""


async def run(
    trials: Sequence[Trial],
    play: Play,
    book: Book,
    *,
    concurrency: int,
    ended: Ended,
) -> None:
    """Plays all trials; `ended` is told of each.

    Raises EndpointUselessError when `concurrency` episodes in a row (at least three) had no
    verdict: something is wrong that more requests don't cure.
    """
    waiting = iter(trials)
    fuse = Fuse(max(concurrency, LEAST_PATIENCE))

    def finish(record: EpisodeRecord) -> None:
        book.add(record)
        ended(record)
        fuse.look(record)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(concurrency, len(trials))):
                group.create_task(_work(waiting, play, finish))
    except* EndpointUselessError as errors:
        raise errors.exceptions[0] from None


async def _work(waiting: Iterator[Trial], play: Play, finish: Ended) -> None:
    for trial in waiting:
        finish(await play(trial))


class Fuse:
    """Counts episodes in a row without a verdict."""

    def __init__(self, most: int) -> None:
        self._most, self._seen = most, 0

    def look(self, record: EpisodeRecord) -> None:
        """Raises EndpointUselessError at the `most`-th in a row."""
        self._seen = self._seen + 1 if record.reward is None else 0
        if self._seen >= self._most:
            raise EndpointUselessError(
                f"{self._seen} episodes in a row ended without a verdict. The last one: "
                f"{record.error}"
            )
