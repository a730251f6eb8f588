"""What the pod's engine serves at this moment: one object that all tasks of the worker share.

The watcher below and the weight updater write it; the agent loop, the sampler and `health` read it.
"""

import asyncio
import logging

from sea_runtime.rollout.engine_client import EngineClient, EngineError

_log = logging.getLogger(__name__)
WATCH_PERIOD_SECONDS = 1.0
EMPTY = -1
"""The version of an engine that was started without weights: below all that may be served."""


class EngineState:
    """`version` None: the engine is down, or what it serves is not known yet; EMPTY: it is up, but
    what it would generate is noise."""

    def __init__(self) -> None:
        self.version: int | None = None
        self.attempt = 0
        """Attempt of the trainer that published the version; 0 for the base model."""
        self.downs = 0
        """How often it was found down."""
        self.required: int | None = None
        """Smallest version to generate with; None until the coordinator has said so."""
        self.updating = False
        self.transport = ""
        """How the newest version came, as in `Adopted`; empty before the first."""
        self.unreachable = ""
        """Why the engine can't read versions from other processes, empty if it can."""
        self.changes = 0
        """Counts the changes by `serves` and `require`: tells an old observation from a new one."""
        self._changed = asyncio.Event()

    @property
    def ready(self) -> bool:
        """True if the engine serves a version that it may generate with."""
        return (
            self.version is not None and self.required is not None and self.version >= self.required
        )

    def serves(self, version: int | None, attempt: int = 0) -> None:
        """Records the version that the engine serves; None: it did not answer."""
        if (version, attempt) != (self.version, self.attempt):
            self.version, self.attempt = version, attempt
            self.downs += version is None
            self._announce()

    def lost(self) -> None:
        """Records that a request found the engine down; the watcher notices when it is back."""
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
        # A new event before the old one is set: the next waiter waits for the next change, and
        # every current waiter wakes exactly once.
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


async def recover(engine: EngineClient) -> None:
    """Leaves no engine paused, whatever a dead updater did to it.

    Paused with complete weights, it is resumed. Paused in the middle of an update, its weights are
    half-loaded, so it is terminated and comes back with the base model.
    """
    if not await engine.is_paused():
        return
    # Ask before resuming: the pause hides which of the two it is.
    if await engine.is_applying():
        _log.warning("The engine was left in the middle of an update: it is restarted.")
        await engine.terminate()
        raise EngineError("The engine is being restarted.")
    _log.warning("The engine was left paused: it is resumed.")
    await engine.resume()


async def observe(engine: EngineClient, state: EngineState) -> None:
    """One observation; an engine seen again after an absence is recovered before it counts."""
    # The updater pauses the engine on purpose: `recover` would resume it half-loaded.
    if state.updating:
        return
    # Taken before the first await: any change during the calls is newer than their answers.
    before = state.changes
    try:
        if state.version is None:
            await recover(engine)
        served = await engine.version()
        version: int | None = served.number
        attempt = served.attempt
        # An empty engine calls its weights version 0, like one with the base model.
        if version == 0 and (state.version == EMPTY or state.version is None):
            version = EMPTY if await engine.is_empty() else 0
    except EngineError as error:
        version, attempt = None, 0
        if state.version is not None:
            _log.warning("The engine does not answer: %s", error)
    # An update or a lost engine in the meantime is newer than this observation.
    if not state.updating and state.changes == before:
        state.serves(version, attempt)


async def watch(engine: EngineClient, state: EngineState) -> None:
    """Observes the engine until cancelled."""
    while True:
        await observe(engine, state)
        await asyncio.sleep(WATCH_PERIOD_SECONDS)
