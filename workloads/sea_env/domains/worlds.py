"""Worlds of our own: a database and a policy for every domain, made from a seed at three sizes.

    sea data world --domain retail --size small --seed 7 --out data/retail
    synthesis -> make(domain, size, seed) -> tasks on it

A domain's world is `make(size, seed) -> World` in `world.py` beside the module of its class (or in
that very module). The same arguments give the same world, on every machine.
"""

import json
import random
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources

from sea_env.domains import beside, registry
from sea_env.domains.database import Database
from sea_env.domains.overlay import Tables


class Size(StrEnum):
    """How large a world is; users of the customer-service domains: 20, 500, 5000."""

    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


@dataclass(frozen=True)
class World:
    """Both sides' tables (`user` is empty where the user has no database) and the policy."""

    agent: Tables
    user: Tables
    policy: str


class NoWorldError(ValueError):
    """A domain that ships no world."""


def make(domain: str, size: Size | str, seed: int) -> World:
    """The world of that domain, size and seed; raises UnknownDomainError or NoWorldError."""
    found = registry.get(domain)
    maker = beside.find(found, "world", "make")
    if maker is None:
        raise NoWorldError(
            f"The domain {domain} ships no world: give a folder with its databases, or write "
            f"make(size, seed) in the module {beside.places(found, 'world')[0]}."
        )
    made: World = maker(Size(size), seed)
    return made


def files(world: World) -> dict[str, str]:
    """The world as files by name, as tau2-bench names them: `db.json`, `user_db.json`, policy."""
    found = {"db.json": _json(world.agent), "policy.md": world.policy}
    return {**found, "user_db.json": _json(world.user)} if world.user else found


def database(domain: str, world: World) -> Database:
    """The world through the domain's own reader, exactly as its files would be read."""
    user = _json(world.user).encode() if world.user else None
    return registry.get(domain).parse(_json(world.agent).encode(), "db.json", user)


def generator(domain: str, size: Size, seed: int) -> random.Random:
    """The source of everything that is drawn in a world."""
    return random.Random(f"{domain}/{size}/{seed}")  # noqa: S311 - data, not secrets


def shipped(package: str, name: str) -> str:
    """A text file that lies in a package of ours."""
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")


def _json(tables: Tables) -> str:
    return json.dumps(tables, indent=1) + "\n"
