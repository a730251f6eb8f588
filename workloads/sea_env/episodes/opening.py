"""A task's world and conversation as they begin: initial state set up, history said."""

from sea_env.domains import initial_state
from sea_env.domains.base import Domain, Environment
from sea_env.domains.database import Database
from sea_env.domains.initial_state import InitialStateError
from sea_env.episodes.conversation import Conversation
from sea_env.episodes.limits import Limits
from sea_env.tasks.task import Task


def environment(domain: Domain, database: Database, task: Task) -> Environment:
    """`database` is the one that the task's row names. Raises InitialStateError naming the task."""
    try:
        return domain.open(initial_state.begin(domain, database, task.initial_state))
    except InitialStateError as error:
        raise InitialStateError(
            f"The initial_state of task {task.key} can't be set up: {error}"
        ) from error


def conversation(domain: Domain, database: Database, task: Task, limits: Limits) -> Conversation:
    """The same with the dialogue so far. Raises InitialStateError."""
    world = environment(domain, database, task)
    return Conversation(domain, world, limits, initial_state.messages(task.initial_state))
