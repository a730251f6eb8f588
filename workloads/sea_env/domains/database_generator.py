"""Generated databases: a database and a policy for a domain, from a seed, at three sizes.

    sea data world --domain retail --size small --seed 7 --out data/retail
    synthesis -> generate_database(domain, size, seed) -> tasks on it

A domain defines `generate_database(size, seed) -> GeneratedDatabase` in `database_generator.py`
next to the module of its class, or in that module itself. The same arguments give the same
database on every machine.
"""

import json
import random
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources

from sea_env.domains import companions
from sea_env.domains.base import Domain
from sea_env.domains.database import Database
from sea_env.domains.overlay import Tables
from sea_env.errors import EnvError

_MODULE, _FUNCTION = "database_generator", "generate_database"


class Size(StrEnum):
    """How large a database is; users of the customer-service domains: 20, 500, 5000."""

    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


class NoGeneratorError(EnvError):
    """A domain that can't generate databases."""


@dataclass(frozen=True)
class GeneratedDatabase:
    """Both sides' tables (`user` is empty if the user has no database) and the policy."""

    agent: Tables
    user: Tables
    policy: str

    def files(self) -> dict[str, str]:
        """Texts by file name, as tau2-bench names them: `db.json`, `user_db.json`, `policy.md`."""
        found = {"db.json": _json(self.agent), "policy.md": self.policy}
        return {**found, "user_db.json": _json(self.user)} if self.user else found

    def load(self, domain: Domain) -> Database:
        """The database as the domain reads it from its files."""
        user = _json(self.user).encode() if self.user else None
        return domain.parse(_json(self.agent).encode(), "db.json", user)


def generate_database(domain: Domain, size: Size | str, seed: int) -> GeneratedDatabase:
    """The database of that domain, size and seed; raises NoGeneratorError."""
    generate = companions.find(domain, _MODULE, _FUNCTION)
    if generate is None:
        raise NoGeneratorError(
            f"The domain {domain.name} generates no databases: give a folder with its databases, "
            f"or define {_FUNCTION}(size, seed) in the module "
            f"{companions.places(domain, _MODULE)[0]}."
        )
    found: GeneratedDatabase = generate(Size(size), seed)
    return found


def seeded_random(domain: str, size: Size, seed: int) -> random.Random:
    """The source of everything that is drawn for a database."""
    return random.Random(f"{domain}/{size}/{seed}")  # noqa: S311 - data, not secrets


def packaged_text(package: str, name: str) -> str:
    """A text file that is part of a package."""
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")


def _json(tables: Tables) -> str:
    return json.dumps(tables, indent=1) + "\n"
