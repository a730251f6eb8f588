"""Databases and policies of tasks: each downloaded once per worker and shared by its episodes."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

from sea_data.formats import database_files
from sea_env.domains.base import Domain
from sea_env.domains.database import Database
from sea_runtime.store.s3 import ObjectStore

MAX_KEPT = 64


@dataclass(frozen=True)
class DomainData:
    """What the episodes of one database start from."""

    database: Database
    system_prompt: str


class Databases:
    """A cache of the `MAX_KEPT` most recently used; simultaneous requests share one download."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._loaded: OrderedDict[tuple[int, str], asyncio.Future[DomainData]] = OrderedDict()

    async def load(self, domain: Domain, url: str) -> DomainData:
        """The database at `url` with its policy. Raises StoreError or DatabaseError."""
        # Two packages may give their domains the same name; the registry keeps each object forever.
        key = (id(domain), url)
        future = self._loaded.get(key)
        if future is None:
            future = asyncio.ensure_future(asyncio.to_thread(self._load, domain, url))
            self._loaded[key] = future
            # Evicting an entry doesn't cancel its download: those who wait for it hold the future.
            while len(self._loaded) > MAX_KEPT:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(key)
        try:
            # Shielded: one cancelled episode must not cancel the download that others wait for.
            return await asyncio.shield(future)
        except Exception:
            # A failure isn't cached: the next episode tries again. `Exception`, so that a cancelled
            # episode leaves the download in place.
            self._loaded.pop(key, None)
            raise

    def _load(self, domain: Domain, url: str) -> DomainData:
        database = database_files.fetch(domain, url, self._store.get)
        policy = database_files.fetch_policy(domain, url, self._store.get)
        return DomainData(database, domain.system_prompt(policy))
