"""Task generators by domain: built-in ones, and those that other packages ship."""

import random
from collections.abc import Callable, Sequence
from typing import Protocol

from sea_data.synthesis.candidate import Candidate
from sea_data.synthesis.plan import Plan
from sea_data.synthesis.procedural.airline.task_generator import AirlineTaskGenerator
from sea_data.synthesis.procedural.mock.task_generator import MockTaskGenerator
from sea_data.synthesis.procedural.retail.task_generator import RetailTaskGenerator
from sea_data.synthesis.procedural.shop import ShopTaskGenerator
from sea_data.synthesis.procedural.telecom.task_generator import TelecomTaskGenerator
from sea_env.domains import companions, registry
from sea_env.domains.base import Domain
from sea_env.domains.database import Database
from sea_env.domains.registry import UnknownDomainError


class TaskGenerator(Protocol):
    """Makes tasks of one domain on one database, without a model."""

    goals: Sequence[str]
    """Names of what customers may want; plans are combinations of these."""
    max_goals: int
    """Per plan."""

    def fits(self, goals: Sequence[str]) -> bool:
        """True if the goals make sense together."""
        ...

    def generate(self, plan: Plan, rng: random.Random) -> Candidate:
        """A task with its dialogue. All randomness comes from `rng`.

        Raises TaskFaultError: NoCandidateError, or ToolRefusedError of the dialogue builder.
        """
        ...


Open = Callable[[Domain, Database], TaskGenerator]

_GENERATORS: dict[str, Open] = {
    "airline": AirlineTaskGenerator,
    "mock": MockTaskGenerator,
    "retail": RetailTaskGenerator,
    "shop": ShopTaskGenerator,
    "telecom": TelecomTaskGenerator,
}


def names() -> list[str]:
    """Built-in domains that have a task generator, sorted."""
    return sorted(_GENERATORS)


def find(domain: Domain) -> Open | None:
    """Opens the domain's task generator; None if it has none.

    A domain of another package has `open_task_generator` in `task_generator.py` next to its module.
    """
    if registry.is_built_in(domain):
        return _GENERATORS.get(domain.name)
    return companions.find(domain, "task_generator", "open_task_generator")


def open_task_generator(domain: Domain, database: Database) -> TaskGenerator:
    """The domain's task generator on a database; raises UnknownDomainError if there is none."""
    opener = find(domain)
    if opener is None:
        raise UnknownDomainError(
            f"The domain {domain.name} has no task generator (built in: {', '.join(names())}): "
            "give --endpoint and --model, so that a model makes its tasks."
        )
    return opener(domain, database)
