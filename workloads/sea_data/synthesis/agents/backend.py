"""The model backend: one item from task to verdict, made by a model in all roles.

task_worker -> function_cases -> checkers.check_task -> function_worker
            -> dialogue_simulation -> execution_checks -> checkers.check_dialogue
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from sea_data.formats import rl
from sea_data.synthesis import execution_checks
from sea_data.synthesis.agents import checkers, dialogue_simulation, function_worker, task_worker
from sea_data.synthesis.agents.function_worker import FunctionRunner, function_cases
from sea_data.synthesis.agents.model_client import (
    ModelClient,
    OnRetry,
    TokenMeter,
    UnusableReplyError,
)
from sea_data.synthesis.agents.planner import Planner
from sea_data.synthesis.backend import BackendUnavailableError
from sea_data.synthesis.candidate import Candidate, Message
from sea_data.synthesis.execution_checks import TASK_FAULTS
from sea_data.synthesis.plan import (
    Blame,
    Cost,
    Failure,
    Item,
    ItemResult,
    Plan,
    TrajectoryFaultError,
    digest,
    shorten_reason,
    with_cost,
)
from sea_data.synthesis.source_database import SourceDatabase
from sea_env.chat import ChatEndpoint
from sea_env.tasks.task import Task
from sea_env.tokens import plain_json
from sea_env.verify.sandbox.pool import FunctionSandbox
from sea_env.verify.verdict import check_verifiable

_MAX_DIALOGUES = 2
"""Attempts at the dialogue of one sound task."""
_TOO_STRICT = "The verification function refuses a dialogue that fulfils all else"


@dataclass(frozen=True)
class _Job:
    """A sound task with its function, still without a dialogue."""

    source: SourceDatabase
    item: Item
    candidate: Candidate
    task: Task
    function: str
    seed: int


class ModelBackend:
    """`Backend` of one model; items take the domain's source databases in turn."""

    def __init__(
        self,
        chat: ChatEndpoint,
        model: str,
        sources: Sequence[SourceDatabase],
        seed: int,
        sandbox: FunctionSandbox,
        on_retry: OnRetry = lambda problem: None,
    ) -> None:
        """`sandbox` runs the functions that the model writes; its owner closes it."""
        self.name = model
        self._client = ModelClient(chat, on_retry)
        self._runner = FunctionRunner(sandbox)
        self._sources = sources
        self._planner = Planner(self._client, sources[0], seed)

    @property
    def sent(self) -> int:
        return self._client.sent

    @property
    def answered(self) -> int:
        return self._client.answered

    async def plans(self, count: int) -> list[Plan]:
        return await self._planner.plans(count)

    async def reflect(
        self, plan: Plan, failures: Sequence[Failure], others: Collection[Plan]
    ) -> Plan:
        return await self._planner.reflect(plan, failures, others)

    def spent(self) -> Cost:
        used, self._planner.meter.tokens = self._planner.meter.tokens, 0
        return Cost(tokens=used)

    async def make(self, item: Item) -> ItemResult:
        meter = TokenMeter()
        try:
            result = await self._make(item, meter)
        except BackendUnavailableError as error:
            result = Failure(Blame.INFRASTRUCTURE, str(error))
        except (UnusableReplyError, *TASK_FAULTS) as error:
            result = Failure(Blame.TASK, str(error))
        if isinstance(result, Failure):
            result = replace(result, reason=shorten_reason(result.reason))
        return with_cost(result, Cost(tokens=meter.tokens))

    async def _make(self, item: Item, meter: TokenMeter) -> ItemResult:
        source = self._sources[item.index % len(self._sources)]
        seed = int(digest(item.random_seed)[:7], 16)
        candidate = await task_worker.write(self._client, source, item, seed, meter)
        # What is checked here comes before the checks that cost requests.
        task = sound_task(source, candidate, item)
        cases = function_cases(source, task)
        failure = await checkers.check_task(self._client, source, item.plan, candidate, meter)
        if failure is not None:
            return failure
        function = await function_worker.write(self._client, self._runner, task, cases, seed, meter)
        return await self._play(_Job(source, item, candidate, task, function, seed), meter)

    async def _play(self, job: _Job, meter: TokenMeter) -> ItemResult:
        """Plays the dialogue; plays it again if the trajectory is to blame, not if the task is."""
        failure: Failure | None = None
        for number in range(_MAX_DIALOGUES):
            messages = await dialogue_simulation.simulate(
                self._client, job.source, job.candidate, job.seed + number, meter
            )
            result = await self._judge(job, messages)
            if isinstance(result, Failure) and result.blame is Blame.TASK:
                return result
            problem = result.reason if isinstance(result, Failure) else ""
            failure = await checkers.check_dialogue(
                self._client, job.source, job.item.plan, job.candidate, messages, problem, meter
            )
            if failure is None:
                return result
            if failure.blame is Blame.TASK:
                break
        assert failure is not None
        return failure

    async def _judge(self, job: _Job, messages: Sequence[Message]) -> ItemResult:
        """Checks the basis first: a function that refuses what the basis rewards is wrong."""
        try:
            _check_writable(messages)
            end = execution_checks.replay(job.source, job.task, messages)
        except TrajectoryFaultError as error:
            return Failure(Blame.TRAJECTORY, str(error))
        episode = execution_checks.episode_of(job.source, job.task, end, messages)
        judged = await self._runner.run(job.function, episode, end.environment)
        if judged.reward != 1.0:
            return Failure(Blame.TASK, f"{_TOO_STRICT}: {judged.reason}")
        solution = replace(job.candidate, messages=messages)
        return execution_checks.accepted(job.source, solution, job.item.row_id, job.function)


def sound_task(source: SourceDatabase, candidate: Candidate, item: Item) -> Task:
    """The candidate as a task that can be set up and scored; raises one of TASK_FAULTS."""
    task = rl.task(execution_checks.row_of(source, candidate, item.row_id))
    check_verifiable(task)
    return task


def _check_writable(messages: Sequence[Message]) -> None:
    """Refuses half of a surrogate pair, which JSON escapes can spell and UTF-8 can't."""
    try:
        plain_json.check(messages)
    except ValueError as error:
        raise TrajectoryFaultError(f"The dialogue can't be written: {error}.") from error
