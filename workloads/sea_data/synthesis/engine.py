"""The loop: plans, items until the round's goal is met, reflection, next round.

Everything that happens is an event in the journal first and in `State` then, so that a run that was
killed goes on where it was: without a model, to the very rows that it would have made anyway.
"""

import asyncio
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any

from sea_data.synthesis import rows
from sea_data.synthesis.crew import Crew, CrewUnavailableError
from sea_data.synthesis.journal import Journal, JournalError
from sea_data.synthesis.outcome import Blame, Cost, Failure, Outcome, at_cost
from sea_data.synthesis.plan import Item, Plan
from sea_data.synthesis.settings import Settings
from sea_data.synthesis.state import State

Progress = Callable[[State], None]
_REPEATED = "The task repeats an earlier one."
_SILENT = 3
"""Items without an answer, beyond as many as are made at a time, that end a run in which the crew
has heard nothing since the first of them."""


class Engine:
    """One run of one domain."""

    def __init__(
        self,
        settings: Settings,
        crew: Crew,
        journal: Journal,
        *,
        clock: Callable[[], float],
        progress: Progress = lambda _: None,
    ) -> None:
        self.state = State()
        self._settings = settings
        self._crew = crew
        self._journal = journal
        self._clock = clock
        self._progress = progress
        self._unanswered: list[tuple[int, dict[str, Any]]] = []
        """Items that got no answer, with the number of requests that were sent by then. Once a
        later request is answered, the endpoint lives, and they are charged to their plans; where
        it is down, they are made after it is back."""

    async def run(self) -> State:
        """To the end, or to CrewUnavailableError; calling it again in a new process resumes."""
        self._load()
        for number in range(1, self._settings.rounds + 1):
            if number not in self.state.plans:
                self._record(await self._plan(number))
            await self._round(number)
            self._journal.sync()
        return self.state

    def _load(self) -> None:
        for event in self._journal.events():
            self.state.apply(event)
        header = self._settings.header()
        if self.state.header is None:
            self._record(beginning(self._settings))
        elif self.state.header != header:
            raise JournalError(_differs(self.state.header, header, str(self._journal.path)))
        self._progress(self.state)

    def _record(self, event: dict[str, Any]) -> None:
        self._journal.append(event)
        self.state.apply(event)
        self._progress(self.state)

    async def _plan(self, number: int) -> dict[str, Any]:
        """Plans of a round: new ones in the first, those of the round before rewritten later."""
        before = self._clock()
        if number == 1:
            plans = await self._crew.plans(self._settings.plans)
        else:
            plans = list(self.state.plans[number - 1])
            for place, plan in enumerate(plans):
                failures = self.state.failures.get((number - 1, plan.id), [])
                if failures:
                    others = [*plans[:place], *plans[place + 1 :]]
                    plans[place] = await self._crew.reflect(plan, failures, others)
        spent = self._crew.spent()
        return {
            "event": "plans",
            "round": number,
            "plans": [plan.as_dict() for plan in plans],
            "cost": asdict(replace(spent, seconds=round(self._clock() - before, 6))),
        }

    async def _round(self, number: int) -> None:
        settings, state = self._settings, self.state
        goal = settings.count * number // settings.rounds
        before = state.accepted - state.accepted_in[number]
        most = settings.attempts * max(0, goal - before) + settings.patience
        running: set[asyncio.Task[None]] = set()
        try:
            for item in self._items(number):
                while running and (
                    len(running) >= settings.concurrency or state.accepted + len(running) >= goal
                ):
                    running = await _first(running)
                tried = state.items[number] + len(self._unanswered) + len(running)
                if state.accepted >= goal or tried >= most:
                    break
                if settings.concurrency == 1:
                    await self._make(item)
                else:
                    running.add(asyncio.create_task(self._make(item)))
            while running:
                running = await _first(running)
            self._charge(math.inf)
        finally:
            for task in running:
                task.cancel()

    def _items(self, number: int) -> Iterator[Item]:
        """Round robin over the plans, without those items that are done and plans that rest."""
        plans = self.state.plans[number]
        index = 0
        while True:
            awake = [plan for plan in plans if not self._rests(plan, number)]
            if not awake:
                return
            for plan in awake:
                item = Item(plan, number, index, self._settings.seed)
                if item.key not in self.state.done and not self._rests(plan, number):
                    yield item
            index += 1

    def _rests(self, plan: Plan, number: int) -> bool:
        tally = self.state.tallies[plan.id, plan.revision]
        failed = len(self.state.failures.get((number, plan.id), ()))
        failed += tally.blamed[Blame.INFRASTRUCTURE]
        return tally.accepted == 0 and failed >= self._settings.patience

    async def _make(self, item: Item) -> None:
        # Procedural workers never wait: without this a Ctrl-C would be heard at the end only.
        await asyncio.sleep(0)
        before = self._clock()
        outcome = await self._crew.make(item)
        cost = Cost(outcome.cost.tokens, round(self._clock() - before, 6))
        outcome = at_cost(outcome, cost)
        if not isinstance(outcome, Failure) and outcome.digest in self.state.digests:
            outcome = Failure(Blame.TASK, _REPEATED, cost)
        event = self._event(item, outcome)
        self._charge(self._crew.answered)
        if not isinstance(outcome, Failure) or outcome.blame is not Blame.INFRASTRUCTURE:
            self._record(event)
            return
        self._unanswered.append((self._crew.sent, event))
        if len(self._unanswered) >= self._settings.concurrency + _SILENT:
            raise CrewUnavailableError(outcome.reason)

    def _charge(self, answered: float) -> None:
        """Items without an answer become their plans', where a later request was answered."""
        while self._unanswered and self._unanswered[0][0] < answered:
            self._record(self._unanswered.pop(0)[1])

    def _event(self, item: Item, outcome: Outcome) -> dict[str, Any]:
        event: dict[str, Any] = {
            "event": "item",
            "item": item.key,
            "plan": item.plan.id,
            "revision": item.plan.revision,
            "round": item.round,
            "cost": asdict(outcome.cost),
        }
        if isinstance(outcome, Failure):
            return {**event, "blame": str(outcome.blame), "reason": outcome.reason}
        origin = {rows.PROVENANCE: rows.provenance(item, self._crew.name)}
        dialogue = dict(outcome.dialogue)
        dialogue["metadata"] = {**dialogue["metadata"], **origin}
        return {
            **event,
            "digest": outcome.digest,
            "task": {**outcome.task, **origin},
            "dialogue": dialogue,
        }


def beginning(settings: Settings) -> dict[str, Any]:
    """The first event of every journal: whose it is."""
    return {"event": "begin", "settings": settings.header()}


async def _first(running: set[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
    """Waits for one task at least; what a task raised is raised here."""
    done, left = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    errors = [error for task in done if (error := task.exception()) is not None]
    if errors:
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        raise errors[0]
    return left


def _differs(found: dict[str, Any], wanted: dict[str, Any], path: str) -> str:
    name = next(name for name in wanted if found.get(name) != wanted[name])
    if name == "worlds":
        return (
            f"{path} belongs to a run on other databases: give the same --data, --worlds and "
            "--size to resume it, or choose another folder."
        )
    return (
        f"{path} belongs to a run with {name} {found.get(name)!r}, but {wanted[name]!r} was asked "
        "for: give the same settings to resume it, or choose another folder."
    )
