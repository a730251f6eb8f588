"""Bounds the passes that talk to the API server at one time; a slow one costs a task, not a slot.

One request may take as long as its time-out, for example behind a webhook that hangs. A pass
therefore holds its slot for `PROMPT_SECONDS` at most and then goes on without one. Webhooks and
policies select namespaces, so the bounds are per namespace: its passes get at most `SHARE` of the
slots, and while `MAX_SLOW` of them per slot are slow, no other pass of it begins (`BusyError`).
Jobs of other namespaces always find a slot, and those of the same one wait for seconds at most.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from sea_operator.errors import BusyError

PROMPT_SECONDS = 1.0
"""How long a pass holds a slot: several times what it takes on a healthy API server."""
SHARE = 0.75
"""Share of the slots for passes of one namespace."""
MAX_SLOW = 4
"""Slow passes of one namespace, per slot. Bounds what is sent to an API server that is slow as a
whole."""


MIN_REQUESTS = 2
"""Of one pass at one time, however many run. Passes over many new jobs would otherwise open a
hundred connections, each with a TLS handshake (2 ms of CPU, measured) and 0.33 MiB for good."""
MAX_REQUESTS = 8
"""Of all passes together, as long as each has its `MIN_REQUESTS`: a new job that comes alone gets
its children in a third of the time."""


@dataclass
class _Namespace:
    """Bounds of one namespace; kept while a pass of it waits or runs."""

    prompt: asyncio.Semaphore
    passes: int = 0
    slow: int = 0


class PassSlots:
    """Not thread-safe: lives in one event loop.

    Args:
        size: passes that use the API server at one time while none of them is slow.
        prompt_seconds: after which a pass counts as slow and gives its slot back.
    """

    def __init__(self, size: int = 16, prompt_seconds: float = PROMPT_SECONDS) -> None:
        self.size = size
        self._prompt_seconds = prompt_seconds
        self._common = asyncio.Semaphore(size)
        self._namespaces: dict[str, _Namespace] = {}

    @property
    def is_free(self) -> bool:
        """Whether no pass talks to the API server."""
        return not self._namespaces

    @property
    def requests(self) -> int:
        """Requests that one pass may send at one time."""
        passes = sum(one.passes for one in self._namespaces.values())
        return max(MIN_REQUESTS, MAX_REQUESTS // max(1, passes))

    @contextlib.asynccontextmanager
    async def of(self, namespace: str) -> AsyncIterator[None]:
        """Holds a slot during the block, at most for `prompt_seconds`.

        Raises `BusyError` while too many passes of the namespace are slow.
        """
        bounds = self._namespaces.get(namespace)
        if bounds is None:
            share = max(1, int(SHARE * self.size))
            bounds = self._namespaces[namespace] = _Namespace(asyncio.Semaphore(share))
        bounds.passes += 1
        try:
            slot = await self._slot(namespace, bounds)
            timer = asyncio.get_running_loop().call_later(self._prompt_seconds, slot.overrun)
            try:
                yield
            finally:
                timer.cancel()
                slot.end()
        finally:
            bounds.passes -= 1
            if not bounds.passes:
                del self._namespaces[namespace]

    async def _slot(self, namespace: str, bounds: _Namespace) -> "_Slot":
        # The namespace's own bound first: a pass that waits for it holds no shared slot.
        await bounds.prompt.acquire()
        try:
            # After the wait, during which others may have become slow.
            self._refuse_if_busy(namespace, bounds)
            await self._common.acquire()
        except BaseException:
            bounds.prompt.release()
            raise
        return _Slot(bounds, self._common)

    def _refuse_if_busy(self, namespace: str, bounds: _Namespace) -> None:
        if bounds.slow >= MAX_SLOW * self.size:
            raise BusyError(
                f"{bounds.slow} passes over jobs of namespace {namespace} wait for the API server "
                f"for more than {self._prompt_seconds:g} s; the next begins when one of them ends."
            )


@dataclass
class _Slot:
    """A common slot and one of its namespace's, until they are given back; then a slow pass."""

    bounds: _Namespace
    common: asyncio.Semaphore
    slow: bool = False

    def overrun(self) -> None:
        """The pass goes on without them."""
        self._give_back()
        self.slow = True
        self.bounds.slow += 1

    def end(self) -> None:
        """The pass has ended."""
        if self.slow:
            self.bounds.slow -= 1
        else:
            self._give_back()

    def _give_back(self) -> None:
        self.common.release()
        self.bounds.prompt.release()
