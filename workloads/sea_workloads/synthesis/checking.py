"""The checkers that need no model: every proposal is run again before it may become rows.

Blame is by who could have known better: actions that err, or a task that the verifier refuses, are
the task's; a dialogue that doesn't earn the reward of a sound task is the trajectory's.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sea_workloads.data import rl
from sea_workloads.data.errors import RowError
from sea_workloads.data.task import Task
from sea_workloads.domains.base import Environment, UnknownAssertionError
from sea_workloads.episodes.limits import Stop
from sea_workloads.synthesis import functions, rows
from sea_workloads.synthesis.outcome import Blame, Failure, Made
from sea_workloads.synthesis.plan import digest
from sea_workloads.synthesis.proposal import Message, Proposal
from sea_workloads.synthesis.worlds import World
from sea_workloads.tokens.messages import calls_of
from sea_workloads.users.base import Signal, signal_in
from sea_workloads.verify.expected import end_state
from sea_workloads.verify.verdict import UnverifiableTaskError, verify

_STOPS = {
    Signal.STOP: Stop.USER_STOP,
    Signal.TRANSFER: Stop.TRANSFER,
    Signal.OUT_OF_SCOPE: Stop.OUT_OF_SCOPE,
}


class TaskFaultError(Exception):
    """The task can't be solved as it stands."""


TASK_FAULTS = (RowError, UnverifiableTaskError, UnknownAssertionError, TaskFaultError)
"""Whatever says that a task is wrong before anybody has played it."""


def check(world: World, given: Proposal, identity: str) -> Made | Failure:
    """Rows where task, function and dialogue agree with each other; else who is to blame."""
    row = rows.task_row(identity, given, world.db_path)
    try:
        task = rl.task(row)
        function = task_function(world, task)
        reason = judge(world, task, given.messages, function)
    except TASK_FAULTS as error:
        return Failure(Blame.TASK, str(error))
    if reason:
        return Failure(Blame.TRAJECTORY, reason)
    row[functions.FIELD] = function
    content = [world.db_path, row["user_scenario"], row["evaluation_criteria"], given.initial_state]
    return Made(row, rows.dialogue_row(identity, given), digest(content))


def task_function(world: World, task: Task) -> str:
    """Runs the expected actions on a fresh world and writes the verification function.

    Raises:
        TaskFaultError: an expected action errs.
    """
    environment = fresh(world, task)
    before = end_state(environment)
    for action in task.criteria.actions:
        result = environment.call(action.name, action.arguments, action.requestor)
        if result.error:
            raise TaskFaultError(f"The expected action {action.name} says {result.content}")
    after = end_state(environment)
    code = functions.source(*after, task.criteria.communicate_info)
    if after != before and functions.run_own(code, _episode(before, ()))[0] > 0:
        raise TaskFaultError("The verification function accepts an untouched database.")
    return code


def judge(world: World, task: Task, messages: Sequence[Message], function: str) -> str:
    """What is wrong with a dialogue, by running it again; empty where it earns the reward."""
    stop = signal_in(str(messages[-1].get("content") or "")) if messages else None
    if stop is None:
        return "The dialogue doesn't end by the user's word."
    environment = fresh(world, task)
    reason = _replay(environment, messages)
    if reason:
        return reason
    verdict = verify(world.domain, task, environment, messages, _STOPS[stop])
    if verdict.reward != 1.0:
        failed = [part for part, value in verdict.parts.items() if value != 1.0]
        return f"The dialogue fails the task's {', '.join(failed)}."
    reward, reason = functions.run_own(function, _episode(end_state(environment), messages))
    return "" if reward == 1.0 else f"The verification function says: {reason}."


def fresh(world: World, task: Task) -> Environment:
    """An environment in the task's initial state."""
    return world.domain.open(world.database)


def _replay(environment: Environment, messages: Sequence[Message]) -> str:
    """Makes the dialogue's calls; tools must say again what the dialogue holds."""
    results = iter([m["content"] for m in messages if m["role"] == "tool"])
    for message in messages:
        for call in calls_of(message):
            said = environment.call(call["name"], call["arguments"], message["role"]).content
            if said != next(results, None):
                return f"The dialogue's result of {call['name']} isn't what the tool says."
    return ""


def _episode(state: tuple[Any, Any], messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"agent_changes": state[0], "user_changes": state[1], "messages": list(messages)}
