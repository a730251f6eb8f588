"""The pool: bounded, nothing lost, idle while somebody else leads."""

import asyncio
import contextlib
import logging
from typing import Any

import pytest

from sea_operator import workers as workers_module
from sea_operator.errors import BusyError, ConflictError, WorkersStuckError
from sea_operator.work_queue import Backoff, WorkQueue
from sea_operator.workers import BUSY_SECONDS, STUCK_SECONDS, Workers
from sea_testing.hand_clock import HandClock


class Gate:
    leads = True

    def __init__(self, leads: Any = True) -> None:
        self._event = asyncio.Event()
        if leads:
            self._event.set()

    def open(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        await self._event.wait()


@pytest.fixture
def queue() -> Any:
    import time

    backoff = Backoff(base=0.001)
    return WorkQueue(clock=time.monotonic, random=lambda: 0.5, backoff=backoff, gap=0.0)


@contextlib.asynccontextmanager
async def running(workers: Any) -> Any:
    task = asyncio.create_task(workers.run())
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_no_more_than_the_pool_at_one_time(queue: Any) -> None:
    inside, most, finished = 0, 0, asyncio.Event()
    seen = set()

    async def reconcile(key: Any) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0)
        inside -= 1
        seen.add(key)
        if len(seen) == 20:
            finished.set()

    async with running(Workers(queue, reconcile, Gate(), 3)):
        for key in range(20):
            queue.add(key)
        await asyncio.wait_for(finished.wait(), 120)
    assert most == 3


@pytest.mark.parametrize("error", [ValueError("x"), ConflictError("y"), TimeoutError()])
async def test_a_failed_pass_comes_back(
    queue: Any, error: Any, caplog: pytest.LogCaptureFixture
) -> None:
    done, attempts = asyncio.Event(), 0

    async def reconcile(key: Any) -> None:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise error
        done.set()

    with caplog.at_level(logging.INFO):
        async with running(Workers(queue, reconcile, Gate(), 1)):
            queue.add("a")
            await asyncio.wait_for(done.wait(), 120)
    assert len([record for record in caplog.records if "pass" in record.message]) == 2


async def test_how_each_pass_ended_is_told(queue: Any) -> None:
    told, all_told = [], asyncio.Event()
    todo: list[Exception | None] = [None, ConflictError("x"), BusyError("y"), ValueError("z")]

    begun: set[int] = set()

    async def reconcile(key: Any) -> None:
        if key in begun:  # again, after its error
            await asyncio.Event().wait()
        begun.add(key)
        if error := todo[key]:
            raise error

    def ended(outcome: str, seconds: float) -> None:
        told.append((outcome, seconds >= 0))
        if len(told) == 4:
            all_told.set()

    async with running(Workers(queue, reconcile, Gate(), 8, ended)):
        for key in range(4):
            queue.add(key)
        await asyncio.wait_for(all_told.wait(), 120)
    assert sorted(told) == [("busy", True), ("conflict", True), ("done", True), ("failed", True)]


async def test_conflicts_in_a_row_do_not_make_the_next_pass_wait_longer() -> None:
    """Somebody who writes to the job all the time must not starve it."""
    now = 1000.0
    queue: WorkQueue[str] = WorkQueue(clock=lambda: now, random=lambda: 0.5)
    waits: list[float] = []

    async def reconcile(key: str) -> float | None:
        raise ConflictError("somebody else wrote first")

    async with running(Workers(queue, reconcile, Gate(), 1)):
        queue.add("j")
        for _ in range(6):
            while "j" not in queue._due or "j" in queue._running:  # noqa: ASYNC110
                await asyncio.sleep(0)
            waits.append(queue._due["j"].time - now)
            now = queue._due["j"].time
            queue._changed.set()
            while "j" in queue._due:  # noqa: ASYNC110
                await asyncio.sleep(0)
    assert max(waits[1:]) <= 1.0
    assert waits[1] == waits[-1]


async def test_a_standby_touches_nothing_and_forgets_nothing(queue: Any) -> None:
    gate, done, seen = Gate(leads=False), asyncio.Event(), []

    async def reconcile(key: Any) -> None:
        seen.append(key)
        done.set()

    async with running(Workers(queue, reconcile, gate, 2)):
        queue.add("a")
        for _ in range(20):
            await asyncio.sleep(0)
        assert seen == []
        gate.open()
        await asyncio.wait_for(done.wait(), 120)
    assert seen == ["a"]


async def test_polls_that_hang_leave_slots_for_events(queue: Any) -> None:
    """Coordinators that don't answer hold a pass for seconds."""
    hang, hung, full, done = asyncio.Event(), set(), asyncio.Event(), asyncio.Event()
    first = set(range(8))

    async def reconcile(key: Any) -> Any:
        if key == "event":
            done.set()
        elif key in first:
            first.discard(key)
            return 0.0
        else:
            hung.add(key)
            if len(hung) == 6:
                full.set()
            await hang.wait()
        return None

    async with running(Workers(queue, reconcile, Gate(), 8)):
        for key in range(8):
            queue.add(key)
        async with asyncio.timeout(120):
            await full.wait()
            queue.add("event")
            await done.wait()
        assert len(hung) == 6


async def test_a_pass_that_is_one_too_many_of_its_namespace_comes_later_without_a_growing_delay(
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue: WorkQueue[str] = WorkQueue(clock=lambda: 1000.0, random=lambda: 0.5)
    tried = asyncio.Event()

    async def reconcile(key: str) -> float | None:
        tried.set()
        raise BusyError("others of this namespace wait")

    async with running(Workers(queue, reconcile, Gate(), 1)):
        queue.add("j")
        await asyncio.wait_for(tried.wait(), 120)
        while "j" in queue._running:  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert queue._due["j"].time == 1000.0 + BUSY_SECONDS
    assert queue._failures == {}
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize("opens", [True, False], ids=["passes-hang", "no-pass-begins"])
async def test_workers_that_get_nowhere_end(opens: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A leader whose passes hang, or whose watches never list, must not go on leading."""
    monkeypatch.setattr(workers_module, "LOOK_SECONDS", 0.0)
    clock = HandClock()
    queue: WorkQueue[str] = WorkQueue(clock=clock, random=lambda: 0.5)

    async def reconcile(key: str) -> float | None:
        await asyncio.Event().wait()
        return None

    workers = Workers(queue, reconcile, Gate(opens), 1)
    task = asyncio.create_task(workers.run())
    queue.add("j")
    for _ in range(10):
        await asyncio.sleep(0)
    clock.now += STUCK_SECONDS
    for _ in range(10):
        await asyncio.sleep(0)
    assert not task.done()
    clock.now += 1.0
    with pytest.raises(ExceptionGroup) as caught:
        await asyncio.wait_for(task, 120)
    assert caught.group_contains(WorkersStuckError, match="although jobs wait for one")


async def test_an_idle_leader_and_a_standby_are_not_stuck() -> None:
    clock = HandClock()
    queue: WorkQueue[str] = WorkQueue(clock=clock, random=lambda: 0.5)

    async def reconcile(key: str) -> float | None:
        return None

    gate = Gate()
    workers = Workers(queue, reconcile, gate, 1)
    clock.now += 10 * STUCK_SECONDS
    workers.require_progress()
    queue.add("j")
    # Work that waited while another led counts from when this process leads.
    other = Gate(leads=False)
    other.leads = False
    standby = Workers(queue, reconcile, other, 1)
    clock.now += 10 * STUCK_SECONDS
    standby.require_progress()
    other.leads = True
    clock.now += STUCK_SECONDS
    standby.require_progress()
    clock.now += 1.0
    with pytest.raises(WorkersStuckError, match="No pass has begun or ended for 181 s"):
        standby.require_progress()
