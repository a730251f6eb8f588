"""What the pod's engine serves at this moment: one object that all tasks of the worker share.

The watcher and the updater write it; the agent loop, the health server and the heartbeat read it.
"""

import asyncio


class EngineState:
    """`version` None: the engine is not there, or what it serves is not known yet."""

    def __init__(self) -> None:
        self.version: int | None = None
        self.required: int | None = None
        """Smallest version to generate with; None before the coordinator has said so."""
        self.updating = False
        self.changes = 0
        """Counts what `serves` and `require` changed: tells an old observation from a new one."""
        self._changed = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Whether the engine serves a version that it may generate with."""
        return (
            self.version is not None and self.required is not None and self.version >= self.required
        )

    def serves(self, version: int | None) -> None:
        """The engine was seen with this version; None: it was not seen."""
        if version != self.version:
            self.version = version
            self._announce()

    def lost(self) -> None:
        """A request found the engine gone; the watcher will find it again."""
        self.serves(None)

    def require(self, version: int) -> None:
        if version != self.required:
            self.required = version
            self._announce()

    async def change(self) -> None:
        """Returns at the next change."""
        await self._changed.wait()

    async def wait_up(self) -> int:
        """The served version, as soon as there is one."""
        while self.version is None:
            await self.change()
        return self.version

    async def wait_ready(self) -> int:
        """The smallest version allowed, as soon as the engine serves it."""
        while not self.ready:
            await self.change()
        assert self.required is not None
        return self.required

    def _announce(self) -> None:
        self.changes += 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
