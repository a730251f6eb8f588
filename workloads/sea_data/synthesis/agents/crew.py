"""The crew of agents: plan; task, its trials and its function; dialogue, blame; reflect."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from sea_data.formats import rl
from sea_data.synthesis import checking
from sea_data.synthesis.agents import checkers, dialogue, function_worker, task_worker
from sea_data.synthesis.agents.asking import NonsenseError
from sea_data.synthesis.agents.bench import Bench
from sea_data.synthesis.agents.endpoint import Endpoint, Meter, Waiting
from sea_data.synthesis.agents.function_worker import NoFunctionError
from sea_data.synthesis.agents.planner import Planner
from sea_data.synthesis.agents.task_worker import NoTaskError
from sea_data.synthesis.agents.trials import trials
from sea_data.synthesis.checking import TrajectoryFaultError
from sea_data.synthesis.crew import CrewUnavailableError
from sea_data.synthesis.identity import identity
from sea_data.synthesis.outcome import Blame, Cost, Failure, Outcome, at_cost, shortened
from sea_data.synthesis.plan import Item, Plan, digest
from sea_data.synthesis.proposal import Message, Proposal
from sea_data.synthesis.worlds import World
from sea_env.chat import ChatEndpoint
from sea_env.tasks.task import Task
from sea_env.tokens import plain_json
from sea_env.verify.sandbox.pool import FunctionSandbox
from sea_env.verify.verdict import check_verifiable

_DIALOGUES = 2
"""Played of one sound task before its trajectory is given up."""
_TOO_STRICT = "The verification function refuses a dialogue that fulfils all else"


@dataclass(frozen=True)
class _Job:
    """A sound task with its function, still without a dialogue."""

    world: World
    item: Item
    proposal: Proposal
    task: Task
    function: str
    seed: int


class ModelCrew:
    """`Crew` of one model over a domain's worlds; items take them in turn."""

    def __init__(
        self,
        chat: ChatEndpoint,
        model: str,
        worlds: Sequence[World],
        seed: int,
        sandbox: FunctionSandbox,
        waiting: Waiting = lambda problem: None,
    ) -> None:
        """`sandbox` runs the functions that the model writes; its owner closes it."""
        self.name = model
        self._endpoint = Endpoint(chat, waiting)
        self._bench = Bench(sandbox)
        self._worlds = worlds
        self._planner = Planner(self._endpoint, worlds[0], seed)

    @property
    def sent(self) -> int:
        return self._endpoint.sent

    @property
    def answered(self) -> int:
        return self._endpoint.answered

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
        try:
            outcome = await self._make(item, meter)
        except CrewUnavailableError as error:
            outcome = Failure(Blame.INFRASTRUCTURE, str(error))
        except NoFunctionError as error:
            outcome = Failure(Blame.TASK, str(error))
        if isinstance(outcome, Failure):
            outcome = replace(outcome, reason=shortened(outcome.reason))
        return at_cost(outcome, Cost(tokens=meter.tokens))

    async def _make(self, item: Item, meter: Meter) -> Outcome:
        world = self._worlds[item.index % len(self._worlds)]
        seed = int(digest(item.random_seed)[:7], 16)
        try:
            proposal = await task_worker.write(self._endpoint, world, item, seed, meter)
            task = sound(world, proposal, item)
            tried = trials(world, task)
        except (NoTaskError, NonsenseError, *checking.TASK_FAULTS) as error:
            return Failure(Blame.TASK, str(error))
        failure = await checkers.check_task(self._endpoint, world, item.plan, proposal, meter)
        if failure is not None:
            return failure
        function = await function_worker.write(
            self._endpoint, self._bench, task, tried, seed, meter
        )
        return await self._play(_Job(world, item, proposal, task, function, seed), meter)

    async def _play(self, job: _Job, meter: Meter) -> Outcome:
        """Plays the task; a trajectory that fails is played once more, a task that fails isn't."""
        failure: Failure | None = None
        for number in range(_DIALOGUES):
            messages = await dialogue.play(
                self._endpoint, job.world, job.proposal, job.seed + number, meter
            )
            outcome = await self._judge(job, messages)
            if isinstance(outcome, Failure) and outcome.blame is Blame.TASK:
                return outcome
            problem = outcome.reason if isinstance(outcome, Failure) else ""
            failure = await checkers.check_dialogue(
                self._endpoint, job.world, job.item.plan, job.proposal, messages, problem, meter
            )
            if failure is None:
                return outcome
            if failure.blame is Blame.TASK:
                break
        assert failure is not None
        return failure

    async def _judge(self, job: _Job, messages: Sequence[Message]) -> Outcome:
        """Basis first, then the function: one that refuses what the basis rewards is wrong."""
        try:
            _check_writable(messages)
            ended = checking.played(job.world, job.task, messages)
        except TrajectoryFaultError as error:
            return Failure(Blame.TRAJECTORY, str(error))
        episode = checking.episode_of(job.world, job.task, ended, messages)
        judged = await self._bench.run(job.function, episode, ended.environment)
        if judged.reward != 1.0:
            return Failure(Blame.TASK, f"{_TOO_STRICT}: {judged.reason}")
        solution = replace(job.proposal, messages=messages)
        return checking.made(job.world, solution, identity(job.item), job.function)


def sound(world: World, given: Proposal, item: Item) -> Task:
    """The proposal as a task that can be set up and scored; raises one of TASK_FAULTS."""
    task = rl.task(checking.row_of(world, given, identity(item)))
    check_verifiable(task)
    return task


def _check_writable(messages: Sequence[Message]) -> None:
    """A model's text may hold what no file can: half of a surrogate pair."""
    try:
        plain_json.check(messages)
    except ValueError as error:
        raise TrajectoryFaultError(f"The dialogue can't be written: {error}.") from error
