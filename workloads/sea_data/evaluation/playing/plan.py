"""Which episodes an evaluation consists of: tasks x trials, each with its seed. Pure.

Seeds are made as the coordinator makes those of an Evaluation stage.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sea_env.tasks.order import choose, sampling_seed
from sea_env.tasks.task import Task


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


def trials(
    domains: Sequence[Sequence[Task]], count: int, seed: int, most: int | None = None
) -> list[Trial]:
    """All episodes, trial by trial: whatever is interrupted has seen all tasks equally often.

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
