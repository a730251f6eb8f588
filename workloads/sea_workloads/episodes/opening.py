"""A task's conversation as it begins: its initial state set up, its history said."""

from sea_workloads.data.task import Task
from sea_workloads.domains import initial
from sea_workloads.domains.base import Domain
from sea_workloads.domains.database import Database
from sea_workloads.episodes.conversation import Conversation
from sea_workloads.episodes.limits import Limits


def conversation(domain: Domain, database: Database, task: Task, limits: Limits) -> Conversation:
    """`database` is the one that the task's row names. Raises InitialStateError."""
    environment = domain.open(initial.begin(domain, database, task.initial_state))
    return Conversation(domain, environment, limits, initial.messages(task.initial_state))
