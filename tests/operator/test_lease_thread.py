"""The elector's own thread: renews whatever the main loop does, and not for one that hangs."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from sea_operator.errors import NotFoundError, NotLeadingError
from sea_operator.leader import Elector
from sea_operator.lease_thread import LeaseThread
from sea_operator.settings import LeaseTimes
from sea_testing.hand_clock import HandClock

TIMES = LeaseTimes(duration=10.0, deadline=7.0, retry=0.001)


class Store:
    """A lease that counts its renewals; used in the thread alone."""

    def __init__(self) -> None:
        self.record: dict[str, Any] | None = None
        self.renewals, self.closed = 0, False
        self.renewed = threading.Condition()

    async def get(self, *_: Any) -> Any:
        if self.record is None:
            raise NotFoundError("none yet")
        return self.record

    async def create(self, kind: Any, namespace: Any, body: Any) -> Any:
        return await self.replace(kind, body)

    async def replace(self, kind: Any, body: Any) -> Any:
        with self.renewed:
            self.renewals += 1
            meta = {**body["metadata"], "resourceVersion": str(self.renewals)}
            self.record = {**body, "metadata": meta}
            self.renewed.notify_all()
        return self.record

    async def close(self) -> None:
        self.closed = True

    def block_until_renewed(self, times: int) -> None:
        """Blocks the calling thread, and so the main loop."""
        with self.renewed:
            wanted = self.renewals + times
            assert self.renewed.wait_for(lambda: self.renewals >= wanted, 120)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def time() -> HandClock:
    return HandClock()


def thread(store: Any, time: HandClock) -> LeaseThread:
    async def connect() -> Any:
        if isinstance(store, Exception):
            raise store
        return store

    def elect(client: Any, moves: Callable[[], bool]) -> Elector:
        return Elector(
            client,
            "n",
            "one",
            monotonic=time,
            wall=time,
            random=lambda: 0.5,
            times=TIMES,
            moves=moves,
            tell=main.call_soon_threadsafe,
        )

    main = asyncio.get_running_loop()
    return LeaseThread(connect, elect, time, TIMES.deadline)


@contextlib.asynccontextmanager
async def running(lease: LeaseThread) -> AsyncIterator[None]:
    task = asyncio.create_task(lease.run())
    try:
        await asyncio.wait_for(lease.wait(), 120)
        yield
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_main_loop_that_is_busy_loses_no_lease(store: Store, time: HandClock) -> None:
    lease = thread(store, time)
    async with running(lease):
        time.now += 6
        store.block_until_renewed(2)
        time.now += 6
        assert lease.leads
        lease.check()


async def test_a_main_loop_that_hangs_loses_the_lease(store: Store, time: HandClock) -> None:
    lease = thread(store, time)
    async with running(lease):
        store.block_until_renewed(1)
        time.now += 8
        assert not lease.leads
        before = store.renewals
        # It moves again: the next beat is enough.
        await asyncio.wait_for(lease.wait(), 120)
        assert store.renewals > before
        lease.check()


async def test_a_clean_end_gives_the_lease_back(store: Store, time: HandClock) -> None:
    lease = thread(store, time)
    async with running(lease):
        assert store.record is not None
        assert store.record["spec"]["holderIdentity"] == "one"
    assert store.record["spec"]["holderIdentity"] == ""
    assert store.closed
    assert not lease.leads
    with pytest.raises(NotLeadingError):
        lease.check()


async def test_a_thread_that_fails_ends_the_process(time: HandClock) -> None:
    lease = thread(RuntimeError("a bug"), time)
    with pytest.raises(RuntimeError, match="a bug"):
        await asyncio.wait_for(lease.run(), 120)
    with pytest.raises(NotLeadingError):
        lease.check()
