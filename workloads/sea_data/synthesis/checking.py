"""The checkers that need no model: every proposal is run again before it may become rows.

Blame is by who could have known better: actions that err, or a task that the verifier refuses, are
the task's; a dialogue that doesn't earn the reward of a sound task is the trajectory's.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sea_data.formats import rl
from sea_data.formats.errors import RowError
from sea_data.synthesis import functions, rows
from sea_data.synthesis.beginning import begin
from sea_data.synthesis.outcome import Blame, Failure, Made
from sea_data.synthesis.plan import digest
from sea_data.synthesis.proposal import Message, Proposal
from sea_data.synthesis.worlds import World
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


class TaskFaultError(Exception):
    """The task can't be solved as it stands."""


class TrajectoryFaultError(Exception):
    """The dialogue doesn't earn the task's reward."""


TASK_FAULTS = (
    RowError,
    UnverifiableTaskError,
    UnknownAssertionError,
    InitialStateError,
    TaskFaultError,
)
"""Whatever says that a task is wrong before anybody has played it."""


class Ended(NamedTuple):
    """A dialogue that was made again up to its end."""

    environment: Environment
    stop: Stop


def check(world: World, given: Proposal, identity: str) -> Made | Failure:
    """Rows where task, function and dialogue agree with each other; else who is to blame."""
    try:
        task = rl.task(row_of(world, given, identity))
        function = task_function(world, task)
        ended = played(world, task, given.messages)
        episode = episode_of(world, task, ended, given.messages)
        reward, reason = functions.run_own(function, episode)
    except TASK_FAULTS as error:
        return Failure(Blame.TASK, str(error))
    except TrajectoryFaultError as error:
        return Failure(Blame.TRAJECTORY, str(error))
    if reward != 1.0:
        return Failure(Blame.TRAJECTORY, f"The verification function says: {reason}.")
    return made(world, given, identity, function)


def made(world: World, given: Proposal, identity: str, function: str) -> Made:
    """The rows of a proposal that has passed all checks."""
    row = row_of(world, given, identity)
    row[FIELD] = function
    content = [world.db_path, row["user_scenario"], row["evaluation_criteria"], given.initial_state]
    return Made(row, rows.dialogue_row(identity, given), digest(content))


def row_of(world: World, given: Proposal, identity: str) -> dict[str, Any]:
    """The `rl` row, still without its function; a domain that isn't ours is named in full."""
    row = rows.task_row(identity, given, world.db_path)
    if not registry.is_built_in(world.domain):
        row["domain"] = registry.full_name(world.domain)
    return row


def solved(world: World, task: Task) -> Environment:
    """Where the expected actions lead on a fresh world.

    Raises:
        TaskFaultError: one of them errs.
    """
    environment = fresh(world.domain, world.database, task)
    for action in task.criteria.actions:
        result = environment.call(action.name, action.arguments, action.requestor)
        if result.error:
            raise TaskFaultError(f"The expected action {action.name} says {result.content}")
    return environment


def task_function(world: World, task: Task) -> str:
    """Writes the verification function from what the expected actions lead to.

    Raises:
        TaskFaultError: they err, or change nothing that the function could see.
    """
    untouched = Ended(fresh(world.domain, world.database, task), Stop.USER_STOP)
    environment = solved(world, task)
    agent, user = end_state(environment)
    base = environment.database
    code = functions.source(
        functions.shortened(agent, base.agent),
        functions.shortened(user, base.user),
        task.criteria.communicate_info,
        exact="DB" in task.criteria.reward_basis,
    )
    if (agent or user) and functions.run_own(code, episode_of(world, task, untouched, ()))[0] > 0:
        raise TaskFaultError("The verification function accepts an untouched database.")
    return code


def played(world: World, task: Task, messages: Sequence[Message]) -> Ended:
    """Runs a dialogue again, which must earn the task's reward but for its function.

    Raises:
        TrajectoryFaultError: why it doesn't.
    """
    signal = signal_in(str(messages[-1].get("content") or "")) if messages else None
    if signal is None:
        raise TrajectoryFaultError("The dialogue doesn't end by the user's word.")
    _check_turns(messages)
    ended = Ended(fresh(world.domain, world.database, task), _STOPS[signal])
    _replay(ended.environment, messages)
    verdict = verify(world.domain, task, ended.environment, messages, ended.stop)
    if verdict.reward != 1.0:
        failed = [part for part, value in verdict.parts.items() if value != 1.0]
        raise TrajectoryFaultError(f"The dialogue fails the task's {', '.join(failed)}.")
    return ended


def episode_of(
    world: World, task: Task, ended: Ended, messages: Sequence[Message]
) -> dict[str, Any]:
    """What a verification function is shown of it."""
    return finished_episode(world.domain, task, ended.environment, messages, ended.stop)


def fresh(domain: Domain, database: Database, task: Task) -> Environment:
    """An environment in the task's initial state."""
    return domain.open(begin(domain, database, task.initial_state))


def _check_turns(messages: Sequence[Message]) -> None:
    turns = [message for message in messages if message["role"] == "assistant"]
    if not turns:
        raise TrajectoryFaultError("The agent says nothing in the dialogue.")
    for turn in turns:
        if turn.get("error"):
            raise TrajectoryFaultError(f"A turn of the agent can't be read: {turn['error']}.")


def _replay(environment: Environment, messages: Sequence[Message]) -> None:
    """Makes the dialogue's calls; tools must say again what the dialogue holds."""
    results = iter([m["content"] for m in messages if m["role"] == "tool"])
    for message in messages:
        for call in calls_of(message):
            said = environment.call(call["name"], call["arguments"], message["role"]).content
            if said != next(results, None):
                raise TrajectoryFaultError(
                    f"The dialogue's result of {call['name']} isn't what the tool says."
                )
