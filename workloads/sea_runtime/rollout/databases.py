"""Databases and policies of tasks: each downloaded once per worker and shared by its episodes."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

from sea_data.formats import database_files
from sea_env.domains.base import Domain
from sea_env.domains.database import Database, DatabaseError
from sea_runtime.store.s3 import ObjectStore

KEPT = 64


@dataclass(frozen=True)
class World:
    """What an episode of one database starts from."""

    database: Database
    system_prompt: str


class Databases:
    """A cache of the `KEPT` worlds used last; simultaneous requests share one download."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._worlds: OrderedDict[tuple[int, str], asyncio.Future[World]] = OrderedDict()

    async def world(self, domain: Domain, url: str) -> World:
        """Raises StoreError, or DatabaseError where the file can't be read."""
        # Two packages may call their domains alike; the registry keeps each for good.
        key = (id(domain), url)
        future = self._worlds.get(key)
        if future is None:
            future = asyncio.ensure_future(asyncio.to_thread(self._load, domain, url))
            self._worlds[key] = future
            while len(self._worlds) > KEPT:
                self._worlds.popitem(last=False)
        self._worlds.move_to_end(key)
        try:
            return await asyncio.shield(future)
        except Exception:
            self._worlds.pop(key, None)
            raise

    def _load(self, domain: Domain, url: str) -> World:
        database = database_files.fetch(domain, url, self._store.get)
        policy = self._policy(domain, url.rpartition("/")[0])
        return World(database, domain.system_prompt(policy))

    def _policy(self, domain: Domain, folder: str) -> str | None:
        """The policy lies beside the database, or where the folders of databases begin.

        Beside it `policy.md` will do: so `sea data world` and tau2-bench name it.
        """
        if domain.policy_file is None:
            return None
        places = [f"{folder}/{domain.policy_file}", f"{folder}/policy.md"]
        parent = folder.rpartition("/")[0]
        if parent.count("/") > 2:
            places.append(f"{parent}/{domain.policy_file}")
        body = database_files.first_of(places, self._store.get)
        if body is None:
            raise DatabaseError(
                f"The policy of {domain.name} lies in none of {', '.join(places)}: upload it."
            )
        return body.decode()
