"""Keeps a local copy of a collection: list, then watch, for as long as the agent lives."""

import asyncio
import logging
from collections.abc import Callable

from .api import ApiClient
from .errors import ApiError, NodeError
from .wire import Json, uid

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0


class Reflector:
    """The objects of one collection by UID; calls back after every change.

    `on_change(old, new)`: `(None, x)` added, `(x, y)` changed, `(x, None)` gone. Called from the
    event loop; must not block. `synced` is set after the first complete list.
    """

    def __init__(
        self,
        api: ApiClient,
        path: str,
        on_change: Callable[[Json | None, Json | None], None],
        **query: str,
    ) -> None:
        self.objects: dict[str, Json] = {}
        self.synced = asyncio.Event()
        self._api = api
        self._path = path
        self._query = query
        self._on_change = on_change

    async def run(self) -> None:
        """Reflect until cancelled; an API server that's away is waited for."""
        while True:
            try:
                await self._follow(await self._list())
            except NodeError as error:
                log.warning("Reflecting %s: %s; trying again", self._path, error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _list(self) -> str:
        answer = await self._api.get(self._path, **self._query)
        found = {uid(item): item for item in answer["items"]}
        for gone in self.objects.keys() - found.keys():
            self._remove(gone)
        for item in found.values():
            self._store(item)
        self.synced.set()
        return str(answer["metadata"]["resourceVersion"])

    async def _follow(self, version: str) -> None:
        """Watch from `version`, over any number of connections, until it's too old."""
        while True:
            query = {**self._query, "resourceVersion": version, "allowWatchBookmarks": "true"}
            async for event in self._api.watch(self._path, query):
                item = event["object"]
                if event["type"] == "ERROR":
                    raise ApiError(item.get("code", 0), item.get("reason", ""), item["message"])
                version = item["metadata"]["resourceVersion"]
                if event["type"] == "DELETED":
                    self._remove(uid(item))
                elif event["type"] != "BOOKMARK":
                    self._store(item)

    def _store(self, item: Json) -> None:
        old = self.objects.get(uid(item))
        self.objects[uid(item)] = item
        if old is None or (
            old["metadata"].get("resourceVersion") != item["metadata"].get("resourceVersion")
        ):
            self._on_change(old, item)

    def _remove(self, key: str) -> None:
        old = self.objects.pop(key, None)
        if old is not None:
            self._on_change(old, None)
