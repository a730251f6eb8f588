"""The checkers that need no model: every proposal is run again before it may become rows.

Blame is by who could have known better: actions that err, or a task that the verifier refuses, are
the task's; a dialogue that doesn't earn the reward of a sound task is the trajectory's.
"""

from collections.abc import Sequence

from sea_workloads.data import rl
from sea_workloads.data.errors import RowError
from sea_workloads.data.task import Task
from sea_workloads.domains import registry
from sea_workloads.domains.base import Domain, Environment, UnknownAssertionError
from sea_workloads.domains.database import Database
from sea_workloads.domains.initial import InitialStateError
from sea_workloads.episodes.limits import Stop
from sea_workloads.synthesis import functions, rows
from sea_workloads.synthesis.beginning import begin
from sea_workloads.synthesis.outcome import Blame, Failure, Made
from sea_workloads.synthesis.plan import digest
from sea_workloads.synthesis.proposal import Message, Proposal
from sea_workloads.synthesis.worlds import World
from sea_workloads.tokens.messages import calls_of
from sea_workloads.users.base import Signal, signal_in
from sea_workloads.verify.expected import end_state
from sea_workloads.verify.function import FIELD, finished_episode
from sea_workloads.verify.verdict import UnverifiableTaskError, verify

_STOPS = {
    Signal.STOP: Stop.USER_STOP,
    Signal.TRANSFER: Stop.TRANSFER,
    Signal.OUT_OF_SCOPE: Stop.OUT_OF_SCOPE,
}


class TaskFaultError(Exception):
    """The task can't be solved as it stands."""


TASK_FAULTS = (
    RowError,
    UnverifiableTaskError,
    UnknownAssertionError,
    InitialStateError,
    TaskFaultError,
)
"""Whatever says that a task is wrong before anybody has played it."""


def check(world: World, given: Proposal, identity: str) -> Made | Failure:
    """Rows where task, function and dialogue agree with each other; else who is to blame."""
    row = rows.task_row(identity, given, world.db_path)
    if not registry.is_ours(world.domain):
        row["domain"] = registry.full_name(world.domain)
    try:
        task = rl.task(row)
        function = task_function(world, task)
        reason = judge(world, task, given.messages, function)
    except TASK_FAULTS as error:
        return Failure(Blame.TASK, str(error))
    if reason:
        return Failure(Blame.TRAJECTORY, reason)
    row[FIELD] = function
    content = [world.db_path, row["user_scenario"], row["evaluation_criteria"], given.initial_state]
    return Made(row, rows.dialogue_row(identity, given), digest(content))


def task_function(world: World, task: Task) -> str:
    """Runs the expected actions on a fresh world and writes the verification function.

    Raises:
        TaskFaultError: an expected action errs.
    """
    environment = fresh(world.domain, world.database, task)
    untouched = finished_episode(world.domain, task, environment, (), Stop.USER_STOP)
    for action in task.criteria.actions:
        result = environment.call(action.name, action.arguments, action.requestor)
        if result.error:
            raise TaskFaultError(f"The expected action {action.name} says {result.content}")
    agent, user = end_state(environment)
    base = environment.database
    code = functions.source(
        functions.shortened(agent, base.agent),
        functions.shortened(user, base.user),
        task.criteria.communicate_info,
        exact="DB" in task.criteria.reward_basis,
    )
    if (agent or user) and functions.run_own(code, untouched)[0] > 0:
        raise TaskFaultError("The verification function accepts an untouched database.")
    return code


def judge(world: World, task: Task, messages: Sequence[Message], function: str) -> str:
    """What is wrong with a dialogue, by running it again; empty where it earns the reward."""
    signal = signal_in(str(messages[-1].get("content") or "")) if messages else None
    if signal is None:
        return "The dialogue doesn't end by the user's word."
    domain, stop = world.domain, _STOPS[signal]
    environment = fresh(domain, world.database, task)
    reason = _replay(environment, messages)
    if reason:
        return reason
    verdict = verify(domain, task, environment, messages, stop)
    if verdict.reward != 1.0:
        failed = [part for part, value in verdict.parts.items() if value != 1.0]
        return f"The dialogue fails the task's {', '.join(failed)}."
    episode = finished_episode(domain, task, environment, messages, stop)
    reward, reason = functions.run_own(function, episode)
    return "" if reward == 1.0 else f"The verification function says: {reason}."


def fresh(domain: Domain, database: Database, task: Task) -> Environment:
    """An environment in the task's initial state."""
    return domain.open(begin(domain, database, task.initial_state))


def _replay(environment: Environment, messages: Sequence[Message]) -> str:
    """Makes the dialogue's calls; tools must say again what the dialogue holds."""
    results = iter([m["content"] for m in messages if m["role"] == "tool"])
    for message in messages:
        for call in calls_of(message):
            said = environment.call(call["name"], call["arguments"], message["role"]).content
            if said != next(results, None):
                return f"The dialogue's result of {call['name']} isn't what the tool says."
    return ""
