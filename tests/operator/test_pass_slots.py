"""Slots of passes: bounded, and a slow pass or a namespace that hangs keeps nobody waiting."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from sea_operator.errors import BusyError
from sea_operator.pass_slots import MAX_SLOW, PassSlots

LONG = 600.0


class Passes:
    """Passes that hold a slot until `end`."""

    def __init__(self, slots: PassSlots) -> None:
        self.slots = slots
        self.running = 0
        self.tasks: list[asyncio.Task[None]] = []
        self._end = asyncio.Event()

    async def _pass(self, namespace: str) -> None:
        async with self.slots.of(namespace):
            self.running += 1
            await self._end.wait()
            self.running -= 1

    async def start(self, namespace: str, count: int) -> None:
        self.tasks += [asyncio.create_task(self._pass(namespace)) for _ in range(count)]
        await settle()

    async def until_running(self, count: int) -> None:
        async with asyncio.timeout(120):
            while self.running < count:  # noqa: ASYNC110 - timers of the loop have no event
                await asyncio.sleep(0.001)

    async def end(self) -> list[BaseException | None]:
        self._end.set()
        return await asyncio.gather(*self.tasks, return_exceptions=True)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
async def prompt() -> AsyncIterator[Passes]:
    passes = Passes(PassSlots(4, prompt_seconds=LONG))
    yield passes
    await passes.end()


@pytest.fixture
async def slow() -> AsyncIterator[Passes]:
    """All of its passes are slow at once."""
    passes = Passes(PassSlots(4, prompt_seconds=0.001))
    yield passes
    await passes.end()


async def test_no_more_prompt_passes_than_slots(prompt: Passes) -> None:
    for namespace in "abc":
        await prompt.start(namespace, 3)
    assert prompt.running == 4
    await prompt.end()
    assert prompt.running == 0


async def test_one_namespace_never_has_all_slots(prompt: Passes) -> None:
    await prompt.start("a", 10)
    assert prompt.running == 3
    await prompt.start("b", 1)
    assert prompt.running == 4


async def test_a_slow_pass_gives_its_slot_back_and_goes_on(slow: Passes) -> None:
    """16 passes in a webhook that hangs once held all slots for 20 s."""
    await slow.start("a", 3)
    await slow.start("a", 5)
    await slow.until_running(8)
    # Those that gave their slot back weren't ended by it.
    assert slow.running == 8
    assert await slow.end() == [None] * 8


async def test_slow_passes_of_a_namespace_are_bounded_and_the_others_are_told(slow: Passes) -> None:
    bound = MAX_SLOW * 4
    await slow.start("a", bound)
    await slow.until_running(bound)
    while slow.slots._namespaces["a"].slow < bound:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    with pytest.raises(BusyError, match="16 passes over jobs of namespace a wait"):
        async with slow.slots.of("a"):
            pytest.fail("it is one too many")
    async with slow.slots.of("b"):
        pass
    assert await slow.end() == [None] * bound
    async with slow.slots.of("a"):
        pass


async def test_a_pass_that_is_cancelled_while_it_waits_loses_no_slot(prompt: Passes) -> None:
    await prompt.start("a", 3)
    await prompt.start("b", 3)
    for task in prompt.tasks[-2:]:
        task.cancel()
    await settle()
    await prompt.end()
    assert prompt.slots.is_free
    assert prompt.slots._common._value == prompt.slots.size


async def test_the_fewer_passes_run_the_more_requests_each_may_send(prompt: Passes) -> None:
    found = [prompt.slots.requests]
    for _ in range(4):
        await prompt.start("a", 1)
        found.append(prompt.slots.requests)
    assert found == [8, 8, 4, 2, 2]
