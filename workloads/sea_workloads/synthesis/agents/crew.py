"""The crew of agents: plan, write a task, check it, play it, check the dialogue, blame, reflect."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from sea_workloads.chat.endpoint import ChatEndpoint
from sea_workloads.data import rl
from sea_workloads.data.task import Task
from sea_workloads.synthesis import checking, rows
from sea_workloads.synthesis.agents import checkers, dialogue, task_worker
from sea_workloads.synthesis.agents.asking import NonsenseError
from sea_workloads.synthesis.agents.endpoint import Endpoint, Meter
from sea_workloads.synthesis.agents.planner import Planner
from sea_workloads.synthesis.agents.task_worker import NoTaskError
from sea_workloads.synthesis.identity import identity
from sea_workloads.synthesis.outcome import Blame, Cost, Failure, Outcome, at_cost
from sea_workloads.synthesis.plan import Item, Plan, digest
from sea_workloads.synthesis.proposal import Proposal
from sea_workloads.synthesis.worlds import World
from sea_workloads.verify.verdict import check_verifiable

_DIALOGUES = 2
"""Played of one sound task before its trajectory is given up."""


class ModelCrew:
    """`Crew` of one model over a domain's worlds; items take them in turn."""

    def __init__(self, chat: ChatEndpoint, model: str, worlds: Sequence[World], seed: int) -> None:
        self.name = model
        self._endpoint = Endpoint(chat)
        self._worlds = worlds
        self._planner = Planner(self._endpoint, worlds[0], seed)

    async def plans(self, count: int) -> list[Plan]:
        return await self._planner.plans(count)

    async def reflect(
        self, plan: Plan, failures: Sequence[Failure], others: Collection[Plan]
    ) -> Plan:
        return await self._planner.reflect(plan, failures, others)

    def spent(self) -> Cost:
        used, self._planner.meter.tokens = self._planner.meter.tokens, 0
        return Cost(tokens=used)

    async def make(self, item: Item) -> Outcome:
        meter = Meter()
        outcome = await self._make(item, meter)
        return at_cost(outcome, Cost(tokens=meter.tokens))

    async def _make(self, item: Item, meter: Meter) -> Outcome:
        world = self._worlds[item.index % len(self._worlds)]
        seed = int(digest(item.random_seed)[:7], 16)
        try:
            proposal = await task_worker.write(self._endpoint, world, item, seed, meter)
            task = _sound(world, proposal, identity(item))
            checking.task_function(world, task)
        except (NoTaskError, NonsenseError, *checking.TASK_FAULTS) as error:
            return Failure(Blame.TASK, str(error))
        failure = await checkers.check_task(self._endpoint, world, item.plan, proposal, meter)
        return failure or await self._play(world, item, proposal, seed, meter)

    async def _play(
        self, world: World, item: Item, proposal: Proposal, seed: int, meter: Meter
    ) -> Outcome:
        """Plays the task; a trajectory that fails is played once more, a task that fails isn't."""
        failure: Failure | None = None
        for number in range(_DIALOGUES):
            messages = await dialogue.play(self._endpoint, world, proposal, seed + number, meter)
            outcome = checking.check(world, replace(proposal, messages=messages), identity(item))
            problem = outcome.reason if isinstance(outcome, Failure) else ""
            failure = await checkers.check_dialogue(
                self._endpoint, world, item.plan, proposal, messages, problem, meter
            )
            if failure is None:
                return outcome
            if failure.blame is Blame.TASK:
                break
        assert failure is not None
        return failure


def _sound(world: World, given: Proposal, name: str) -> Task:
    task = rl.task(rows.task_row(name, given, world.db_path))
    check_verifiable(task)
    return task
