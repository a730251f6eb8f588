"""A webhook that hangs concerns the namespaces that it judges, and no job of another one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from sea_operator.errors import BusyError, KubeError
from sea_operator.pass_slots import MAX_SLOW, PassSlots
from sea_testing.admission import WEBHOOK, drop, judge_new_sets, try_new_set
from sea_testing.operator_world import TIMEOUT, RunningOperator, World, reflectors

pytestmark = pytest.mark.cluster


class Silence:
    """A server that takes connections and never says a word."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self._over = asyncio.Event()

    async def take(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.set()
        await self._over.wait()
        writer.transport.abort()

    def hang_up(self) -> None:
        """From now on nobody needs to wait for the time-out."""
        self._over.set()


@pytest.fixture
async def silence(world: World) -> AsyncIterator[Silence]:
    """It is asked about each new StatefulSet of the world's namespace."""
    found = Silence()
    async with await asyncio.start_server(found.take, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        await judge_new_sets(world, f"https://127.0.0.1:{port}/judge")
        yield found
        await drop(world, WEBHOOK)
        found.hang_up()


@pytest.fixture
async def neighbor(world: World, second_world: World, operator: RunningOperator) -> World:
    """Another namespace that the operator serves, with a job."""
    await second_world.create_secret()
    await second_world.create_job()
    for one in reflectors(world.client, second_world.namespace, operator.cache):
        await one.fill()
    return second_world


async def test_passes_that_hang_keep_no_job_of_another_namespace_waiting(
    operator: RunningOperator, world: World, neighbor: World, silence: Silence, until: Any
) -> None:
    reconcile = operator.reconcile
    reconcile.sources = replace(reconcile.sources, slots=PassSlots(1, prompt_seconds=0.05))
    names = [f"x{i}" for i in range(MAX_SLOW + 1)]
    await world.create_secret()
    for name in names:
        await world.create_job(name)

    async def known() -> bool:
        return all(operator.cache.view((world.namespace, name)) for name in names)

    async def is_asked() -> bool:
        probe = asyncio.create_task(try_new_set(world))
        asked = asyncio.create_task(silence.asked.wait())
        await asyncio.wait((probe, asked), return_when=asyncio.FIRST_COMPLETED)
        for task in (probe, asked):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, KubeError):
                await task
        return silence.asked.is_set()

    await until(known)
    await until(is_asked)
    passes = [asyncio.create_task(reconcile((world.namespace, name))) for name in names]
    async with asyncio.timeout(TIMEOUT):
        ended, hanging = await asyncio.wait(passes, return_when=asyncio.FIRST_COMPLETED)
        (refused,) = ended
        assert isinstance(refused.exception(), BusyError), "it is put off"

        await reconcile((neighbor.namespace, "j"))
        assert len(await neighbor.sizes()) == 4
        assert (await neighbor.condition("Ready"))["reason"] == "PodsNotReady"
        assert not any(one.done() for one in hanging)

        silence.hang_up()
        await asyncio.wait(hanging)
    for name, one in zip(names, passes, strict=True):
        if one is not refused:
            said = await world.condition("Reconciling", name)
            assert said["reason"] == "ChildNotWritten"
            assert 'failed calling webhook "sets.example.com"' in said["message"]
