"""The loop of a run: plans, items until the round's target is met, reflection, next round.

Each event goes into the journal first and into `RunState` second, so a killed run resumes where it
was. Without a model the resumed run yields the same rows as an undisturbed one.
"""

import asyncio
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any

from sea_data.synthesis.backend import Backend, BackendUnavailableError
from sea_data.synthesis.journal import Journal, JournalError
from sea_data.synthesis.plan import Blame, Cost, Failure, Item, ItemResult, Plan, with_cost
from sea_data.synthesis.run_state import RunSettings, RunState

Progress = Callable[[RunState], None]
_REPEATED = "The task repeats an earlier one."
_MAX_SILENT = 3
"""A run stops after this many unanswered items on top of its concurrency, if no request that was
sent after the first of them has been answered."""


class Engine:
    """One run of one domain."""

    def __init__(
        self,
        settings: RunSettings,
        backend: Backend,
        journal: Journal,
        *,
        clock: Callable[[], float],
        progress: Progress = lambda _: None,
    ) -> None:
        self.state = RunState()
        self._settings = settings
        self._backend = backend
        self._journal = journal
        self._clock = clock
        self._progress = progress
        self._unanswered: list[tuple[int, dict[str, Any]]] = []
        """Events of items that got no answer, each with the number of requests sent by then. If a
        later request is answered, the endpoint works and the items count against their plans. If
        it is down, they are not recorded, so they are made once it is back."""

    async def run(self) -> RunState:
        """Runs to the end, or raises BackendUnavailableError; a new process can resume it."""
        self._load()
        for number in range(1, self._settings.rounds + 1):
            if number not in self.state.plans:
                # Recorded before the first item: a resumed run must make its items from the same
                # plans.
                self._record(await self._plan(number))
            await self._round(number)
            # Once per round: fsync per item would dominate procedural runs. A loss of power in
            # between costs at most a round.
            self._journal.sync()
        return self.state

    def _load(self) -> None:
        # Without `_record`: these events are in the journal already.
        for event in self._journal.events():
            self.state.apply(event)
        header = self._settings.header()
        if self.state.header is None:
            self._record(first_event(self._settings))
        elif self.state.header != header:
            raise JournalError(_differs(self.state.header, header, str(self._journal.path)))
        self._progress(self.state)

    def _record(self, event: dict[str, Any]) -> None:
        # Journal first: after a kill in between, the resumed run reads the event there.
        self._journal.append(event)
        self.state.apply(event)
        self._progress(self.state)

    async def _plan(self, number: int) -> dict[str, Any]:
        """Event with the round's plans: new ones in round 1, then the previous ones, rewritten."""
        before = self._clock()
        if number == 1:
            plans = await self._backend.plans(self._settings.plans)
        else:
            plans = list(self.state.plans[number - 1])
            for place, plan in enumerate(plans):
                failures = self.state.failures.get((number - 1, plan.id), [])
                if failures:
                    others = [*plans[:place], *plans[place + 1 :]]
                    plans[place] = await self._backend.reflect(plan, failures, others)
        spent = self._backend.spent()
        return {
            "event": "plans",
            "round": number,
            "plans": [plan.as_dict() for plan in plans],
            "cost": asdict(replace(spent, seconds=round(self._clock() - before, 6))),
        }

    async def _round(self, number: int) -> None:
        settings, state = self._settings, self.state
        target = settings.count * number // settings.rounds
        before = state.accepted - state.accepted_in[number]
        # From what the round began with, so that a resumed round has the same budget.
        max_items = settings.attempts * max(0, target - before) + settings.max_failures
        running: set[asyncio.Task[None]] = set()
        try:
            for item in self._items(number):
                while running and (
                    # Never more in flight than are missing: accepted tasks beyond the target would
                    # be wasted.
                    len(running) >= settings.concurrency or state.accepted + len(running) >= target
                ):
                    running = await _first(running)
                # Unanswered and running items count: their events come later.
                tried = state.items[number] + len(self._unanswered) + len(running)
                if state.accepted >= target or tried >= max_items:
                    break
                # Awaited in place: items are made strictly one after another, and runs are
                # deterministic.
                if settings.concurrency == 1:
                    await self._make(item)
                else:
                    running.add(asyncio.create_task(self._make(item)))
            while running:
                running = await _first(running)
            # The round has ended without the endpoint being down: all unanswered items count.
            self._charge(math.inf)
        finally:
            for task in running:
                task.cancel()

    def _items(self, number: int) -> Iterator[Item]:
        """Round robin over the plans, without items that are done and plans that rest."""
        plans = self.state.plans[number]
        index = 0
        while True:
            awake = [plan for plan in plans if not self._rests(plan, number)]
            if not awake:
                return
            for plan in awake:
                item = Item(plan, number, index, self._settings.seed)
                # A plan may have begun to rest since `awake` was listed: the generator is resumed
                # after results.
                if item.key not in self.state.done and not self._rests(plan, number):
                    yield item
            index += 1

    def _rests(self, plan: Plan, number: int) -> bool:
        tally = self.state.tallies[plan.id, plan.revision]
        failed = len(self.state.failures.get((number, plan.id), ()))
        failed += tally.blamed[Blame.INFRASTRUCTURE]
        return tally.accepted == 0 and failed >= self._settings.max_failures

    async def _make(self, item: Item) -> None:
        # The procedural backend never awaits: without this, Ctrl-C takes effect only at the end.
        await asyncio.sleep(0)
        before = self._clock()
        result = await self._backend.make(item)
        cost = Cost(result.cost.tokens, round(self._clock() - before, 6))
        result = with_cost(result, cost)
        # Checked when recorded, without an await in between: concurrent items may make the same
        # task.
        if not isinstance(result, Failure) and result.digest in self.state.digests:
            result = Failure(Blame.TASK, _REPEATED, cost)
        event = self._event(item, result)
        # Before this item's own event: unanswered items are older, and the journal keeps the order.
        self._charge(self._backend.answered)
        if not isinstance(result, Failure) or result.blame is not Blame.INFRASTRUCTURE:
            self._record(event)
            return
        # With the number of requests so far: only an answer to a later one shows that the endpoint
        # works.
        self._unanswered.append((self._backend.sent, event))
        if len(self._unanswered) >= self._settings.concurrency + _MAX_SILENT:
            raise BackendUnavailableError(result.reason)

    def _charge(self, answered: float) -> None:
        """Counts unanswered items against their plans if a later request was answered."""
        while self._unanswered and self._unanswered[0][0] < answered:
            self._record(self._unanswered.pop(0)[1])

    def _event(self, item: Item, result: ItemResult) -> dict[str, Any]:
        event: dict[str, Any] = {
            "event": "item",
            "item": item.key,
            "plan": item.plan.id,
            "revision": item.plan.revision,
            "round": item.round,
            "cost": asdict(result.cost),
        }
        if isinstance(result, Failure):
            return {**event, "blame": str(result.blame), "reason": result.reason}
        origin = {"provenance": item.provenance(self._backend.name)}
        dialogue = dict(result.dialogue)
        dialogue["metadata"] = {**dialogue["metadata"], **origin}
        return {
            **event,
            "digest": result.digest,
            "task": {**result.task, **origin},
            "dialogue": dialogue,
        }


def first_event(settings: RunSettings) -> dict[str, Any]:
    """The first event of every journal: the settings of its run."""
    return {"event": "begin", "settings": settings.header()}


async def _first(running: set[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
    """Waits for at least one task; raises what a task raised."""
    done, left = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    errors = [error for task in done if (error := task.exception()) is not None]
    if errors:
        for task in left:
            task.cancel()
        # Waited for before raising: a cancelled item must not write to a journal that is closed.
        await asyncio.gather(*left, return_exceptions=True)
        raise errors[0]
    return left


def _differs(found: dict[str, Any], wanted: dict[str, Any], path: str) -> str:
    name = next(name for name in wanted if found.get(name) != wanted[name])
    if name == "databases":
        return (
            f"{path} belongs to a run on other databases: give the same --data, --worlds and "
            "--size to resume it, or choose another folder."
        )
    return (
        f"{path} belongs to a run with {name} {found.get(name)!r}, but {wanted[name]!r} was asked "
        "for: give the same settings to resume it, or choose another folder."
    )
