"""How fast both sides of `tau2_parity.py` answer calls: CPU seconds, the best of several rounds.

Four kinds of calls, so that a goal isn't reached by the cheap ones alone:

- reads, writes: a customer's, of `env_calls.py`, each of the next of fifty open episodes;
- published: the expected actions of fifty published tasks, in the mix in which they are made (those
  that are refused too): each task's on its own initial state, the tasks without one in one episode;
- errors: unknown tools and ids, a missing argument, one of a wrong type.

A row per tool says which are slow, in microseconds per call of each side.
"""

import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from env_calls import CUSTOMERS
from tau2_calls import Call

from sea_env.domains.base import Domain, Environment, Kind
from sea_env.domains.database import Database
from sea_env.episodes.conversation import open_environment
from sea_env.tasks.task import Task

EPISODES, MAX_CALLS = 50, 3000
ROUNDS = 4
"""The best of each side's counts: what else the machine does only adds time."""
Ask = Callable[..., Any]
Episode = tuple[Task | None, Sequence[Call]]
"""The task whose initial state it begins with, if it has one, and the calls."""
Tools = dict[str, tuple[int, float]]
"""By tool, number of calls, and their seconds."""
Both = tuple[int, float, float]
"""Number of calls, our CPU seconds, tau2-bench's."""


@dataclass(frozen=True)
class Speed:
    """Speeds of one domain, in `domain` here and by `ask` in tau2-bench."""

    ask: Ask
    domain: Domain
    database: Database

    def measured(self, tasks: Iterable[tuple[Task, Sequence[Call]]]) -> dict[str, float]:
        """Speed-up over tau2-bench by kind of calls; prints what it is made of."""
        episodes = _joined([one for one in tasks if one[1]][:EPISODES])
        found = {kind: self._of_customers(kind) for kind in ("reads", "writes")}
        if episodes:
            found["published"] = self._compared(episodes)
        found["errors"] = self._compared([(None, self._mistakes() * 50)])
        for kind, (count, ours, theirs) in found.items():
            rates = f"{count / ours:,.0f} calls/s, tau2-bench {count / theirs:,.0f}"
            print(f"    {kind}: {rates}: {theirs / ours:.1f} times")
        for tool, count, ours, theirs in self._by_tool(episodes) if episodes else ():
            both = f"{ours * 1e6:>8.2f} us{theirs * 1e6:>9.1f} us"
            print(f"        {tool:<34}{count:>5} calls{both}{theirs / ours:>7.1f} times")
        return {kind: round(theirs / ours, 1) for kind, (_, ours, theirs) in found.items()}

    def _by_tool(self, episodes: Sequence[Episode]) -> list[tuple[str, int, float, float]]:
        """(tool, calls, our seconds per call, tau2-bench's), the least gain first."""
        sent = _sent(episodes)
        theirs = _best(self.ask("time", self.domain.name, episodes=sent, each=True)["tools"]
                       for _ in range(ROUNDS))  # fmt: skip
        ours = _best(self._each(episodes) for _ in range(ROUNDS))
        rows = [
            (name, count, ours[name][1] / count, seconds / count)
            for name, (count, seconds) in theirs.items()
        ]
        return sorted(rows, key=lambda row: row[3] / row[2])

    def _of_customers(self, kind: str) -> Both:
        known = list(itertools.islice(CUSTOMERS[self.domain.name](self.database), EPISODES))
        # Telecom's published database has four customers: several episodes then share one.
        customers = list(itertools.islice(itertools.cycle(known), EPISODES))
        turns = itertools.zip_longest(*(getattr(one, kind) for one in customers))
        flat = [
            (index, call) for turn in turns for index, call in enumerate(turn) if call is not None
        ][:MAX_CALLS]
        # In one environment: customers' calls don't meet, and it takes long to open one.
        calls = [[side, tool, arguments] for _, (tool, arguments, side) in flat]
        ours = min(self._interleaved(flat) for _ in range(ROUNDS))
        return len(flat), ours, self._theirs([[None, calls]])

    def _interleaved(self, calls: Sequence[tuple[int, Any]]) -> float:
        opened = [self.domain.open(self.database) for _ in range(EPISODES)]
        begin = time.process_time()
        for index, (tool, arguments, side) in calls:
            opened[index].call(tool, arguments, side)
        return time.process_time() - begin

    def _compared(self, episodes: Sequence[Episode]) -> Both:
        count = sum(len(calls) for _, calls in episodes)
        ours = min(self._sequential(episodes) for _ in range(ROUNDS))
        return count, ours, self._theirs(_sent(episodes))

    def _sequential(self, episodes: Sequence[Episode]) -> float:
        opened = [(self._open(task), calls) for task, calls in episodes]
        begin = time.process_time()
        for environment, calls in opened:
            for side, tool, arguments in calls:
                environment.call(tool, arguments, side)
        return time.process_time() - begin

    def _each(self, episodes: Sequence[Episode]) -> Tools:
        found: dict[str, list[float]] = defaultdict(list)
        clock = time.perf_counter
        for task, calls in episodes:
            environment = self._open(task)
            for side, tool, arguments in calls:
                begin = clock()
                environment.call(tool, arguments, side)
                found[tool].append(clock() - begin)
        return {name: (len(seconds), sum(seconds)) for name, seconds in found.items()}

    def _open(self, task: Task | None) -> Environment:
        if task is None:
            return self.domain.open(self.database)
        return open_environment(self.domain, self.database, task)

    def _theirs(self, episodes: Sequence[Any]) -> float:
        answers = (self.ask("time", self.domain.name, episodes=episodes) for _ in range(ROUNDS))
        return float(min(answer["seconds"] for answer in answers))

    def _mistakes(self) -> list[Call]:
        tool = next(
            one
            for one in self.domain.tools
            if one.kind is Kind.READ and len(one.required) == len(one.parameters["properties"]) == 1
        )
        (name,) = tool.required
        wrong: list[tuple[str, dict[str, Any]]] = [
            ("no_such_tool", {}),
            (tool.name, {}),
            (tool.name, {name: "nothing"}),
            (tool.name, {name: 7}),
        ]
        return [["assistant", called, arguments] for called, arguments in wrong]


def _joined(tasks: Sequence[tuple[Task, Sequence[Call]]]) -> list[Episode]:
    """Tasks without an initial state as one episode: tau2-bench takes seconds to open another."""
    found: list[Episode] = [(task, calls) for task, calls in tasks if task.initial_state]
    plain = [call for task, calls in tasks if not task.initial_state for call in calls]
    return [*found, (None, plain)] if plain else found


def _sent(episodes: Sequence[Episode]) -> list[Any]:
    return [[None if task is None else dict(task.row), list(calls)] for task, calls in episodes]


def _best(rounds: Iterable[Any]) -> Tools:
    """The least seconds of each tool."""
    found: Tools = {}
    for one in rounds:
        for name, (count, seconds) in one.items():
            found[name] = (count, min(seconds, found.get(name, (0, seconds))[1]))
    return found
