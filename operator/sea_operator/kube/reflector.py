"""Keeps a store equal to what the API server holds of one kind: list, watch, list again if needed.

What client-go calls a reflector. kopf's `on.event` costs seven times the CPU per event (measured),
and lacks two things that a cache needs: the end of the first list, and the deletions that happened
while a watch was interrupted for too long (they bring no event).
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from sea_operator.errors import ExpiredError, KubeError, NotFoundError, RejectedError
from sea_operator.kube.client import Kind, KubeClient, Object

log = logging.getLogger(__name__)

Ref = tuple[str, str]
"""Namespace and name of an object."""


class Store(Protocol):
    """What a reflector feeds."""

    def put(self, kind: Kind, live: Object) -> None:
        """An object from a list or a watch, possibly outdated."""

    def remove(self, kind: Kind, live: Object) -> None:
        """The object is gone; `live` is its last state."""

    def prune(self, kind: Kind, namespace: str | None, seen: set[Ref], version: str) -> None:
        """Only the objects of `seen` existed when the list had `version`."""


class Reflector:
    """One kind in one namespace, or in all (None); `random` in [0, 1) spreads the pauses."""

    def __init__(
        self,
        client: KubeClient,
        kind: Kind,
        namespace: str | None,
        selector: str,
        store: Store,
        random: Callable[[], float],
    ) -> None:
        self._client = client
        self._kind = kind
        self._selector = selector
        self._store = store
        self._random = random
        self._seen = ""
        self.namespace = namespace
        self.answered = asyncio.Event()
        """Set once the first list is in the store, or the API server refused it."""
        self.synced = asyncio.Event()
        """Set while the store may be trusted: not before the first list is in it, and no longer
        once the API server refuses one."""

    async def run(self) -> None:
        """Runs until cancelled; retries while the API server can't be reached."""
        while True:
            try:
                await self._follow()
            except KubeError as error:
                self._warn_of(error)
                await self._pause()

    async def fill(self) -> str:
        """Lists everything into the store; returns the version that a watch goes on from."""
        try:
            version = await self._list()
        except RejectedError:
            self.synced.clear()
            self.answered.set()
            raise
        self.synced.set()
        self.answered.set()
        return version

    async def _list(self) -> str:
        seen: set[Ref] = set()
        token = ""
        while True:
            page = await self._client.page(self._kind, self.namespace, self._selector, token)
            for live in page.items:
                self._store.put(self._kind, live)
                seen.add((live["metadata"]["namespace"], live["metadata"]["name"]))
            if not (token := page.token):
                break
        # Only after the last page: an object that isn't on the first pages may be on that one.
        self._store.prune(self._kind, self.namespace, seen, page.version)
        return page.version

    async def _follow(self) -> None:
        """A list and all watches from there, until the server has dropped that history."""
        # A fresh list after 410: objects deleted in the meantime bring no event, only `prune` drops
        # them.
        version = await self.fill()
        while True:
            try:
                version = await self._watch(version)
            except ExpiredError:
                log.info("watch of %s is too old, listing again", self._kind.plural)
                return

    async def _watch(self, version: str) -> str:
        """One watch; returns the version of the last event, from which the next one goes on."""
        self._seen = version
        try:
            async for type_, live in self._client.watch(
                self._kind, self.namespace, self._selector, version
            ):
                self._take(type_, live)
        except (ExpiredError, NotFoundError, RejectedError):
            # Asking again gets the same answer, and meanwhile nothing would be heard: only a list
            # shows what happened, or that all of it is refused.
            raise
        except KubeError as error:
            # Nothing is lost: the server keeps some minutes of history.
            self._warn_of(error)
        if self._seen == version:
            # A watch without news, or a server that ends watches at once: not in a busy loop.
            await self._pause()
        return self._seen

    def _take(self, type_: str, live: Object) -> None:
        """One event; a bookmark only moves the version on."""
        if type_ == "DELETED":
            self._store.remove(self._kind, live)
        elif type_ != "BOOKMARK":
            self._store.put(self._kind, live)
        self._seen = live["metadata"]["resourceVersion"]

    def _warn_of(self, error: KubeError) -> None:
        log.warning("watch of %s interrupted: %s", self._kind.plural, error)

    async def _pause(self) -> None:
        """Spread: after an API server's restart not all watchers of a cluster list at once."""
        await asyncio.sleep(0.5 + self._random())
