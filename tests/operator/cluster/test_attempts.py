"""Passes that start a new attempt of the trainer, and crashes of the operator during them."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sea_api.wire.coordinator_spec import RollbackOrder
from sea_api.wire.state import RollbackCheck
from sea_testing.operator_client import Recorder
from sea_testing.operator_world import World, settle

pytestmark = pytest.mark.cluster

LATER = 600.0
"""Seconds after a start that a failure of its own comes: soon after it, a pod that was made long
after the others, as on a busy machine, would be taken for one that replaced another."""


async def test_a_trainer_failure_begins_a_new_attempt(
    world: World, reconcile: Callable[..., Awaitable[float | None]], clock: Any
) -> None:
    await world.create_secret()
    await world.create_job()
    await settle(world, reconcile)
    coordinator = world.coordinators["j"]
    clock.ahead = LATER
    coordinator.fail(time=clock())
    await reconcile(world)
    assert coordinator.specs[-1].attempt == 2
    status = await world.status()
    assert status["trainerAttempt"] == 2
    assert (status["restarts"]["counted"], status["restarts"]["uncounted"]) == (1, 0)
    assert status["lastFailure"]["cause"] == "ProcessExit"
    await reconcile(world)
    assert (await world.status())["restarts"]["counted"] == 1


async def test_an_exhausted_budget_fails_the_job_and_an_edit_revives_it(
    world: World, reconcile: Callable[..., Awaitable[float | None]], clock: Any
) -> None:
    await world.create_secret()
    await world.create_job(failurePolicy={"budget": {"restarts": 1, "windowSeconds": 600}})
    await settle(world, reconcile)
    coordinator = world.coordinators["j"]
    clock.ahead = LATER
    for _ in range(2):
        coordinator.fail(time=clock())
        await reconcile(world)
    failed = await world.condition("Failed")
    assert (failed["status"], failed["reason"]) == ("True", "RestartBudgetExhausted")
    assert "spec.failurePolicy.budget.restarts" in failed["message"]
    assert (await world.condition("Stalled"))["status"] == "True"
    await reconcile(world)
    assert set((await world.sizes()).values()) == {0}
    assert "suspending or scaling it doesn't" in failed["message"]
    # What a user, `kubectl scale` and an autoscaler do to it: none of it means "again".
    for edit in ({"suspend": True}, {"suspend": False}, {"rollout": {"replicas": 2}}):
        await world.edit(**edit)
        for _ in range(3):
            await reconcile(world)
        assert (await world.condition("Failed"))["status"] == "True", edit
        assert (await world.condition("Failed"))["message"] == failed["message"]
        assert set((await world.sizes()).values()) == {0}
        assert (await world.status())["observedGeneration"] == (await world.generation())
    await world.edit(failurePolicy={"budget": {"restarts": 5}})
    await reconcile(world)
    assert (await world.condition("Failed"))["status"] == "False"
    assert (await world.sizes())["j-trainer"] == 2
    assert (await world.status())["trainerAttempt"] == 3


async def test_a_crash_after_any_write_is_made_good_by_the_next_pass(
    world: World,
    reconcile: Callable[..., Awaitable[float | None]],
    recorder: Recorder,
    crash: Any,
    until: Any,
) -> None:
    await world.create_secret()
    await world.create_job("whole")
    await reconcile(world, "whole")
    total = len(recorder.writes)
    assert total >= 10
    wanted = {
        name.replace("whole", "x"): size for name, size in (await world.sizes("whole")).items()
    }
    for after in range(1, total + 1):
        name = f"c{after}"
        await world.create_job(name)
        recorder.writes.clear()
        recorder.crash_after = after
        with pytest.raises(crash):
            await reconcile(world, name)
        recorder.crash_after = None
        token = await world.token(name)
        await reconcile(world, name)
        assert token in (None, await world.token(name)), "a token is never rotated"
        sizes = {
            child.replace(name, "x"): size for child, size in (await world.sizes(name)).items()
        }
        assert sizes == wanted
        # The last news by itself: what the scheduler says of the pods goes into the status.
        await until(functools.partial(world.judged, name))
        await reconcile(world, name)
        recorder.writes.clear()
        await reconcile(world, name)
        assert recorder.writes == []


async def test_a_crash_between_status_and_command_neither_loses_nor_repeats_a_restart(
    world: World,
    reconcile: Callable[..., Awaitable[float | None]],
    recorder: Recorder,
    crash: Any,
    clock: Any,
) -> None:
    await world.create_secret()
    await world.create_job()
    await settle(world, reconcile)
    coordinator = world.coordinators["j"]
    clock.ahead = LATER
    coordinator.fail(time=clock())
    recorder.writes.clear()
    recorder.crash_after = 1
    with pytest.raises(crash):
        await reconcile(world)
    recorder.crash_after = None
    assert coordinator.specs[-1].attempt == 1
    await reconcile(world)
    assert coordinator.specs[-1].attempt == 2
    assert (await world.status())["restarts"]["counted"] == 1


async def test_a_job_goes_back_to_a_checkpoint_once(
    world: World, reconcile: Callable[..., Awaitable[float | None]], clock: Any
) -> None:
    """Refused, nothing ends; sound, one attempt begins; done, no later pass repeats it."""
    await world.create_secret()
    await world.create_job()
    await settle(world, reconcile)
    coordinator = world.coordinators["j"]
    clock.ahead = LATER
    stage = coordinator.specs[-1].spec.stages[0].name

    async def asked(step: int) -> RollbackOrder:
        await world.edit(checkpoint={"rollbackTo": {"stage": stage, "step": step}})
        for _ in range(2):
            await reconcile(world)
        order = coordinator.specs[-1].rollback
        assert order is not None
        assert order.step == step
        return order

    order = await asked(3)
    problem = "There is no checkpoint of step 3."
    coordinator.change(rollback_check=RollbackCheck(generation=order.generation, problem=problem))
    await reconcile(world)
    found = (await world.status())["rollback"]
    assert (found["state"], found["message"]) == ("Refused", problem)
    assert (await world.status())["trainerAttempt"] == 1
    order = await asked(2)
    assert order.attempt is None
    coordinator.change(rollback_check=RollbackCheck(generation=order.generation))
    await reconcile(world)
    assert coordinator.specs[-1].attempt == 2
    told = coordinator.specs[-1].rollback
    assert told is not None
    assert told.attempt == 2
    coordinator.change(rollback_check=RollbackCheck(generation=order.generation, done=True))
    for _ in range(3):
        await reconcile(world)
    status = await world.status()
    assert (status["rollback"]["state"], status["trainerAttempt"]) == ("Done", 2)
    assert (status["restarts"]["counted"], status["restarts"]["uncounted"]) == (0, 0)
    assert coordinator.specs[-1].rollback is None
