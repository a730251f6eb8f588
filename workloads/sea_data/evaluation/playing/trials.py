"""Which episodes an evaluation consists of, tasks x trials, and playing many of them at a time.

Seeds are made as the coordinator makes those of an Evaluation stage. Each episode is stored as it
ends, so a cancellation at any moment loses only what was being played.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from sea_data.errors import EndpointUselessError
from sea_data.evaluation.playing.results import ResultStore
from sea_data.evaluation.records import EpisodeRecord
from sea_env.tasks.order import choose, sampling_seed
from sea_env.tasks.task import Task

MIN_FAILURES = 3


@dataclass(frozen=True)
class Trial:
    """One episode to play."""

    task: Task
    number: int
    seed: int

    @property
    def key(self) -> tuple[str, str, int]:
        """As `EpisodeRecord.key`."""
        return self.task.domain, self.task.key, self.number


Ended = Callable[[EpisodeRecord], None]
Play = Callable[[Trial], Awaitable[EpisodeRecord]]
"""One episode, on its task's world."""


def trials(
    domains: Sequence[Sequence[Task]], count: int, seed: int, most: int | None = None
) -> list[Trial]:
    """All episodes, trial by trial, so an interrupted evaluation has seen all tasks equally often.

    `domains` are the tasks of each; `most` bounds those of one domain by a seeded choice.
    """
    chosen = [tasks[index] for tasks in domains for index in choose(len(tasks), most, seed)]
    return [
        Trial(task, number, sampling_seed(seed, task.key, number))
        for number in range(count)
        for task in chosen
    ]


def missing(planned: Sequence[Trial], done: Collection[tuple[str, str, int]]) -> list[Trial]:
    """What an interrupted evaluation still has to play."""
    return [trial for trial in planned if trial.key not in done]


async def run(
    trials: Sequence[Trial],
    play: Play,
    store: ResultStore,
    *,
    concurrency: int,
    ended: Ended,
) -> None:
    """Plays all trials; `ended` is called after each.

    Raises EndpointUselessError when `concurrency` episodes in a row (at least three) had no
    verdict: more requests would not cure it.
    """
    waiting = iter(trials)
    fuse = Fuse(max(concurrency, MIN_FAILURES))

    def finish(record: EpisodeRecord) -> None:
        store.add(record)
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
