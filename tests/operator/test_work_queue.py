"""The queue: coalescing, one pass a key, delays, back-off. Time is a number here."""

import asyncio
from typing import Any

import pytest

from sea_operator.work_queue import (
    CALM_SECONDS,
    MAX_EVENTS_IN_A_ROW,
    MAX_POLLS_PER_SECOND,
    POLL_BURST,
    URGENT_SECONDS,
    Backoff,
    WorkQueue,
)
from sea_testing.hand_clock import HandClock


@pytest.fixture
def time() -> Any:
    return HandClock(100.0)


@pytest.fixture
def queue(time: Any) -> Any:
    return WorkQueue(clock=time, random=lambda: 0.5, gap=0.1, first_gap=0.1)


async def ready(queue: Any) -> Any:
    """The next key, None if there's none right now."""
    try:
        async with asyncio.timeout(0.01):
            return (await queue.get())[0]
    except TimeoutError:
        return None


async def queue_head(queue: Any) -> bool:
    """Whether a key is due; takes it."""
    if not queue.has_work:
        return False
    await queue.get()
    return True


async def test_many_events_are_one_pass(queue: Any) -> None:
    for _ in range(10):
        queue.add("a")
    assert await ready(queue) == "a"
    assert await ready(queue) is None


async def test_an_event_during_the_pass_runs_afterwards_once(queue: Any, time: Any) -> None:
    queue.add("a")
    assert await ready(queue) == "a"
    queue.add("a")
    queue.add("a")
    time.now += 1
    assert await ready(queue) is None, "never two passes of one key"
    queue.done("a", after=30)
    assert await ready(queue) == "a"
    queue.done("a", after=30)
    assert await ready(queue) is None


async def test_other_keys_go_on_meanwhile(queue: Any) -> None:
    queue.add("a")
    queue.add("b")
    assert {await ready(queue), await ready(queue)} == {"a", "b"}


async def test_a_pass_comes_again_after_the_time_it_asked_for(queue: Any, time: Any) -> None:
    queue.add("a")
    await ready(queue)
    queue.done("a", after=5)
    time.now += 4.9
    assert await ready(queue) is None
    time.now += 0.2
    assert await ready(queue) == "a"


async def test_an_event_comes_before_the_timer(queue: Any, time: Any) -> None:
    queue.add("a")
    await ready(queue)
    queue.done("a", after=30)
    time.now += 1
    queue.add("a")
    assert await ready(queue) == "a"


async def test_a_storm_of_events_waits_for_the_gap(queue: Any, time: Any) -> None:
    queue.add("a")
    await ready(queue)
    queue.done("a", after=30)
    time.now += 0.05
    queue.add("a")
    assert await ready(queue) is None
    time.now += 0.06
    assert await ready(queue) == "a"


async def test_a_storm_that_goes_on_brings_ever_fewer_passes(queue: Any, time: Any) -> None:
    """An event each 10 ms for 6 s, then a calm: pods of a job that starts."""
    begun, starts = time.now, []
    for _ in range(600):
        queue.add("a")
        if await queue_head(queue):
            starts.append(round(time.now - begun, 2))
            queue.done("a", after=30)
        time.now += 0.01
    assert starts == [0.0, 0.1, 0.3, 0.7, 1.5, 2.5, 3.5, 4.5, 5.5]
    time.now += CALM_SECONDS
    assert await queue_head(queue)
    queue.done("a", after=30)
    time.now += CALM_SECONDS
    queue.add("a")
    assert await queue_head(queue), "the first event after a calm brings a pass at once"


async def test_a_poll_does_not_put_an_event_off(queue: Any, time: Any) -> None:
    queue.add("a")
    await ready(queue)
    queue.done("a", after=1)
    time.now += 1
    assert await queue.get() == ("a", False)
    queue.done("a", after=1)
    queue.add("a")
    assert await ready(queue) == "a"


async def test_errors_grow_and_success_forgives(queue: Any, time: Any) -> None:
    delays = []
    for _ in range(3):
        queue.add("a")
        time.now += 100
        assert await ready(queue) == "a"
        delays.append(queue.failed("a"))
    assert delays == [0.5, 1.0, 2.0]
    time.now += 100
    assert await ready(queue) == "a"
    queue.done("a", after=0)
    time.now += 100
    assert await ready(queue) == "a"
    assert queue.failed("a") == 0.5


async def test_a_failed_key_comes_back_by_itself(queue: Any, time: Any) -> None:
    queue.add("a")
    await ready(queue)
    delay = queue.failed("a")
    assert await ready(queue) is None
    time.now += delay
    assert await ready(queue) == "a"


async def test_an_event_that_waits_is_woken(queue: Any) -> None:
    waiter = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    assert await asyncio.wait_for(waiter, 120) == ("a", True)


async def test_a_gone_key_leaves_nothing_behind(queue: Any) -> None:
    queue.add("a")
    await ready(queue)
    queue.done("a", after=None)
    assert (queue._due, queue._running, queue._storms, queue._failures) == ({}, set(), {}, {})


@pytest.mark.parametrize(
    ("failures", "random", "expected"),
    [(1, 0.5, 0.5), (2, 0.5, 1.0), (1, 0.0, 0.375), (100, 0.5, 10.0), (8, 0.5, 10.0)],
)
def test_backoff(failures: int, random: float, expected: float) -> None:
    assert Backoff().delay(failures, random) == expected


async def test_events_go_before_polls_that_are_due_longer(queue: Any, time: Any) -> None:
    for key in "ab":
        queue.add(key)
        await ready(queue)
        queue.done(key, after=1)
    time.now += 100
    queue.add("c")
    assert [await queue.get() for _ in range(3)] == [("c", True), ("a", False), ("b", False)]


async def test_a_storm_of_events_lets_polls_through(queue: Any, time: Any) -> None:
    queue.add("poll")
    await ready(queue)
    queue.done("poll", after=1)
    time.now += 100
    for key in range(2 * MAX_EVENTS_IN_A_ROW):
        queue.add(key)
    order = [(await queue.get())[0] for _ in range(MAX_EVENTS_IN_A_ROW)]
    assert order.index("poll") == MAX_EVENTS_IN_A_ROW - 1, "its own first pass was an event's"


async def test_an_event_makes_a_poll_one(queue: Any, time: Any) -> None:
    queue.add("a")
    await ready(queue)
    queue.done("a", after=30)
    time.now += 1
    queue.add("a")
    assert await queue.get() == ("a", True)
    queue.done("a", after=30)
    time.now += 30
    assert await queue.get() == ("a", False)
    assert await ready(queue) is None


async def test_polls_wait_while_they_may_not_go(queue: Any, time: Any) -> None:
    queue.add("poll")
    await ready(queue)
    queue.done("poll", after=0)
    time.now += 1
    may_poll = False
    waiter = asyncio.create_task(queue.get(lambda: may_poll))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiter.done()
    may_poll = True
    queue.done("another", after=None)
    assert await asyncio.wait_for(waiter, 120) == ("poll", False)


async def test_thousands_of_polls_keep_a_pace_and_an_event_goes_between_them(
    queue: Any, time: Any
) -> None:
    """2,000 jobs that are polled each second would leave no time for the one that changed."""
    for key in range(2000):
        queue.add(key)
        await queue.get()
        queue.done(key, after=1)
    time.now += 100
    started = 0
    while await ready(queue) is not None:
        started += 1
    assert started == POLL_BURST + 1
    queue.add("news")
    assert await ready(queue) == "news"
    for _ in range(10):
        time.now += 0.1
        while await ready(queue) is not None:
            started += 1
    assert started == pytest.approx(POLL_BURST + MAX_POLLS_PER_SECOND, abs=2)


async def test_a_pass_that_follows_at_once_goes_with_the_events(queue: Any, time: Any) -> None:
    """It acts on what the pass before it did, and mustn't wait for the polls of all others."""
    queue.add("a")
    await ready(queue)
    queue.done("a", after=URGENT_SECONDS)
    assert await ready(queue) is None
    time.now += URGENT_SECONDS
    assert await queue.get() == ("a", True)


async def test_the_pods_of_a_new_job_are_collected_for_a_second(time: Any) -> None:
    """They come one after the other, and each change of their number would be a status write."""
    queue: Any = WorkQueue(clock=time, random=lambda: 0.5)
    queue.add("a")
    assert await ready(queue) == "a"
    queue.done("a", 60.0)
    for _ in range(3):
        time.now += 0.3
        queue.add("a")
        assert await ready(queue) is None
    time.now += 0.11
    assert await ready(queue) == "a"
