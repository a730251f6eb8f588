"""The checks that need no model: every candidate is executed again before it becomes rows.

Failing expected actions and tasks that the verifier refuses are blamed on the task. A dialogue that
doesn't earn the reward of a sound task is blamed on the trajectory.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sea_data.errors import RowError
from sea_data.formats import rl
from sea_data.synthesis import verification_function
from sea_data.synthesis.candidate import Candidate, Message
from sea_data.synthesis.plan import (
    Accepted,
    Blame,
    Failure,
    TaskFaultError,
    TrajectoryFaultError,
    digest,
)
from sea_data.synthesis.source_database import SourceDatabase, initial_database
from sea_env.domains import registry
from sea_env.domains.base import Domain, Environment, UnknownAssertionError
from sea_env.domains.database import Database
from sea_env.domains.initial_state import InitialStateError
from sea_env.episodes.limits import Stop
from sea_env.tasks.task import Task
from sea_env.tokens.messages import calls_of
from sea_env.users.base import Signal, signal_in
from sea_env.verify.checks import end_state
from sea_env.verify.function import FIELD, finished_episode
from sea_env.verify.verdict import UnverifiableTaskError, verify

_STOPS = {
    Signal.STOP: Stop.USER_STOP,
    Signal.TRANSFER: Stop.TRANSFER,
    Signal.OUT_OF_SCOPE: Stop.OUT_OF_SCOPE,
}


TASK_FAULTS = (
    RowError,
    UnverifiableTaskError,
    UnknownAssertionError,
    InitialStateError,
    TaskFaultError,
)
"""Errors that show that a task is wrong before its dialogue is played."""


class EndState(NamedTuple):
    """Where a dialogue ended when it was executed again."""

    environment: Environment
    stop: Stop


def check(source: SourceDatabase, candidate: Candidate, row_id: str) -> Accepted | Failure:
    """The rows if task, verification function and dialogue agree; else a failure with blame."""
    try:
        task = rl.task(row_of(source, candidate, row_id))
        function = task_function(source, task)
        end = replay(source, task, candidate.messages)
        episode = episode_of(source, task, end, candidate.messages)
        reward, reason = verification_function.run_own(function, episode)
    except TASK_FAULTS as error:
        return Failure(Blame.TASK, str(error))
    except TrajectoryFaultError as error:
        return Failure(Blame.TRAJECTORY, str(error))
    if reward != 1.0:
        return Failure(Blame.TRAJECTORY, f"The verification function says: {reason}.")
    return accepted(source, candidate, row_id, function)


def accepted(source: SourceDatabase, candidate: Candidate, row_id: str, function: str) -> Accepted:
    """The rows of a candidate that has passed all checks."""
    row = row_of(source, candidate, row_id)
    row[FIELD] = function
    content = [
        source.db_path,
        row["user_scenario"],
        row["evaluation_criteria"],
        candidate.initial_state,
    ]
    return Accepted(row, candidate.dialogue_row(row_id), digest(content))


def row_of(source: SourceDatabase, candidate: Candidate, row_id: str) -> dict[str, Any]:
    """The `rl` row, still without its function; names the domain in full if it isn't built in."""
    row = candidate.task_row(row_id, source.db_path)
    if not registry.is_built_in(source.domain):
        row["domain"] = registry.full_name(source.domain)
    return row


def solved(source: SourceDatabase, task: Task) -> Environment:
    """The environment after the expected actions, on a fresh database.

    Raises:
        TaskFaultError: one of them fails.
    """
    environment = fresh(source.domain, source.database, task)
    for action in task.criteria.actions:
        result = environment.call(action.name, action.arguments, action.requestor)
        if result.error:
            raise TaskFaultError(f"The expected action {action.name} says {result.content}")
    return environment


def task_function(source: SourceDatabase, task: Task) -> str:
    """Source of the verification function for the end state of the expected actions.

    Raises:
        TaskFaultError: an action fails, or the function accepts an untouched database.
    """
    untouched = EndState(fresh(source.domain, source.database, task), Stop.USER_STOP)
    environment = solved(source, task)
    agent, user = end_state(environment)
    base = environment.database
    code = verification_function.source(
        verification_function.without_untouched_records(agent, base.agent),
        verification_function.without_untouched_records(user, base.user),
        task.criteria.communicate_info,
        exact="DB" in task.criteria.reward_basis,
    )
    reward, _ = verification_function.run_own(code, episode_of(source, task, untouched, ()))
    # A function that accepts what nobody has touched would reward an agent that does nothing. Where
    # the task changes no record, that is what it should accept.
    if (agent or user) and reward > 0:
        raise TaskFaultError("The verification function accepts an untouched database.")
    return code


def replay(source: SourceDatabase, task: Task, messages: Sequence[Message]) -> EndState:
    """Executes a dialogue again and checks that it earns the task's reward (without its function).

    Raises:
        TrajectoryFaultError: it doesn't earn it; says why.
    """
    signal = signal_in(str(messages[-1].get("content") or "")) if messages else None
    if signal is None:
        raise TrajectoryFaultError("The dialogue doesn't end by the user's word.")
    _check_turns(messages)
    end = EndState(fresh(source.domain, source.database, task), _STOPS[signal])
    _repeat_calls(end.environment, messages)
    verdict = verify(source.domain, task, end.environment, messages, end.stop)
    if verdict.reward != 1.0:
        failed = [part for part, value in verdict.parts.items() if value != 1.0]
        raise TrajectoryFaultError(f"The dialogue fails the task's {', '.join(failed)}.")
    return end


def episode_of(
    source: SourceDatabase, task: Task, end: EndState, messages: Sequence[Message]
) -> dict[str, Any]:
    """The finished episode as a verification function gets it."""
    return finished_episode(source.domain, task, end.environment, messages, end.stop)


def fresh(domain: Domain, database: Database, task: Task) -> Environment:
    """An environment in the task's initial state."""
    return domain.open(initial_database(domain, database, task.initial_state))


def _check_turns(messages: Sequence[Message]) -> None:
    turns = [message for message in messages if message["role"] == "assistant"]
    if not turns:
        raise TrajectoryFaultError("The agent says nothing in the dialogue.")
    for turn in turns:
        if turn.get("error"):
            raise TrajectoryFaultError(f"A turn of the agent can't be read: {turn['error']}.")


def _repeat_calls(environment: Environment, messages: Sequence[Message]) -> None:
    """Makes the dialogue's calls; their results must equal those in the dialogue."""
    # In the order of the calls: a turn's results follow it before the next turn.
    results = iter([m["content"] for m in messages if m["role"] == "tool"])
    for message in messages:
        for call in calls_of(message):
            said = environment.call(call["name"], call["arguments"], message["role"]).content
            if said != next(results, None):
                raise TrajectoryFaultError(
                    f"The dialogue's result of {call['name']} isn't what the tool says."
                )
