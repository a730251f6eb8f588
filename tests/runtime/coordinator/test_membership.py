"""Worlds, failures, drains and who may lease, in a coordinator without HTTP."""

import json
from pathlib import Path
from typing import Any

import pytest

from sea_api.v1alpha1.policy import Cause
from sea_runtime.coordinator import (
    adopt,
    heartbeats,
    rollouts,
    state,
    trainers,
    training,
    unheard,
    weights,
)
from sea_runtime.coordinator.errors import StaleError
from sea_runtime.wire.membership import PodState
from sea_runtime.wire.rollouts import LeaseRequest
from sea_runtime.wire.trainer import CheckpointCommitted, StageProgress, TaskKind
from sea_testing.coordinator import inprocess as kit


@pytest.fixture
def clock() -> Any:
    return kit.Clock()


@pytest.fixture
def core(tmp_path: Path, clock: Any) -> Any:
    return kit.coordinator(tmp_path, kit.desired(kit.spec()), clock)


def beat(core: Any, rank: int, life: str = "a", attempt: int = 0, **more: Any) -> Any:
    message = kit.beat(
        f"job-trainer-{rank}",
        "trainer",
        life,
        attempt=attempt,
        address=f"10.0.0.{rank}",
        state=more.pop("state", PodState.STARTING),
        **more,
    )
    return heartbeats.heard(core, message)


def test_a_world_is_formed_when_all_have_called(core: Any) -> None:
    """Rank order is the ordinals' order, rank 0 is the master."""
    assert beat(core, 1).world is None
    found = beat(core, 0)
    assert found.run
    assert found.world.pods == ["job-trainer-0", "job-trainer-1"]
    assert (found.world.master_address, found.world.master_port) == ("10.0.0.0", 29501)
    assert beat(core, 1).world == found.world


def test_before_joining_a_pod_may_be_replaced_unless_it_is_the_master(core: Any) -> None:
    """Nobody was told its address."""
    world = (beat(core, 0), beat(core, 1))[1].world
    assert beat(core, 1, "b").world == world
    assert trainers.failure(core) is None
    assert not beat(core, 0, "b").run
    assert trainers.failure(core).pod == "job-trainer-0"


def test_after_joining_a_new_process_means_failure(core: Any) -> None:
    """Its training processes died with the old one."""
    beat(core, 0)
    beat(core, 1)
    beat(core, 0, attempt=1, state=PodState.READY)
    assert not beat(core, 1, "b").run
    assert not beat(core, 0, attempt=1, state=PodState.READY).run
    failure = state.assemble(core).trainer_failure
    assert (failure.attempt, failure.pod, failure.cause) == (1, "job-trainer-1", "ProcessExit")


def test_the_first_failure_is_told_and_a_new_attempt_forgets_it(core: Any) -> None:
    """What follows a failure is its consequence."""
    beat(core, 0)
    beat(core, 1)
    failed = {"attempt": 1, "state": PodState.FAILED}
    beat(core, 1, cause=Cause.OUT_OF_MEMORY, detail="killed", **failed)
    beat(core, 0, cause=Cause.PROCESS_EXIT, detail="peer lost", **failed)
    assert trainers.failure(core).cause == Cause.OUT_OF_MEMORY
    adopt.adopt(core, core.db, kit.desired(kit.spec(), attempt=2))
    assert state.assemble(core).trainer_failure is None
    assert beat(core, 0, attempt=1, state=PodState.FAILED).world.attempt == 2
    assert trainers.failure(core) is None
    with pytest.raises(StaleError, match="attempt 2 is current"):
        training.task(core, 1)


def test_a_users_mistake_is_the_jobs_problem_until_the_next_attempt(core: Any) -> None:
    beat(core, 0)
    beat(core, 1)
    failed = {"attempt": 1, "state": PodState.FAILED, "cause": Cause.USER_ERROR}
    assert not beat(core, 1, detail="The layout needs 4 ranks.", **failed).run
    found = state.assemble(core)
    assert found.problem.message.startswith("The layout needs 4 ranks.")
    assert found.trainer_failure.spec_generation == 1
    adopt.adopt(core, core.db, kit.desired(kit.spec(), attempt=2))
    assert state.assemble(core).problem is None


def test_attempts_never_go_back(core: Any) -> None:
    """An operator that lost its status learns the attempt from us."""
    adopt.adopt(core, core.db, kit.desired(kit.spec(), attempt=3))
    adopt.adopt(core, core.db, kit.desired(kit.spec(), attempt=1))
    assert state.assemble(core).attempt == 3


def test_drained_once_everything_is_committed_and_stopped(core: Any) -> None:
    """Running processes, and steps without a checkpoint, hold a drain up."""
    beat(core, 0)
    beat(core, 1)
    for rank in (0, 1):
        beat(core, rank, attempt=1, state=PodState.READY)
    row = StageProgress(attempt=1, step=2, total_steps=3, metrics={})
    training.report(core, "rl", row)
    adopt.adopt(core, core.db, kit.desired(kit.spec(), drain=True))
    assert training.task(core, 1).kind == TaskKind.STOP
    assert beat(core, 1, attempt=1, state=PodState.READY).run
    assert not trainers.drained(core)
    assert not beat(core, 0).run
    beat(core, 1)
    assert not trainers.drained(core)
    commit = CheckpointCommitted(attempt=1, step=2, version=2, bytes=1, manifest_key="k")
    training.committed(core, "rl", commit)
    assert trainers.drained(core)
    adopt.adopt(core, core.db, kit.desired(kit.spec()))
    assert not trainers.drained(core)
    assert beat(core, 0).run


class OneObject:
    """An object store that holds nothing but the stage's head.json."""

    def __init__(self, *steps: int) -> None:
        self.steps, self.reads = steps, 0

    def get(self, url: str) -> bytes:
        assert url == "s3://bucket/x/job/stages/rl/checkpoints/head.json"
        self.reads += 1
        entries = [
            {"step": step, "version": step, "manifest_key": "k/m", "bytes": 1, "time": 1.0}
            for step in self.steps
        ]
        return json.dumps({"attempt": 1, "checkpoints": entries}).encode()


@pytest.mark.parametrize(("steps", "drained"), [((1, 2), True), ((1,), False), ((), False)])
async def test_a_commit_that_nobody_told_of_ends_the_drain(
    core: Any, clock: Any, caplog: Any, steps: tuple[int, ...], drained: bool
) -> None:
    """Rank 0 died between head.json and its message; lost steps are told."""
    beat(core, 0)
    beat(core, 1)
    training.report(core, "rl", StageProgress(attempt=1, step=2, total_steps=3, metrics={}))
    adopt.adopt(core, core.db, kit.desired(kit.spec(), drain=True))
    core.store = OneObject(*steps)
    for rank in (0, 1):
        beat(core, rank, attempt=1, state=PodState.READY)
    await unheard.look(core)
    assert core.store.reads == 0
    for rank in (0, 1):
        beat(core, rank)
    await unheard.look(core)
    await unheard.look(core)
    assert core.store.reads == 1
    assert trainers.drained(core) == drained
    assert ("no checkpoint has" in caplog.text) == (not drained)


def test_a_silent_trainer_counts_as_running_at_first(core: Any, clock: Any) -> None:
    """A coordinator that has just started doesn't know yet."""
    adopt.adopt(core, core.db, kit.desired(kit.spec(), drain=True))
    assert not trainers.drained(core)
    clock.now += 16.0
    assert trainers.drained(core)


@pytest.mark.parametrize(
    ("adopted", "incarnation", "gets"),
    [(1, "a", True), (2, "a", True), (0, "a", False), (None, "a", False), (2, "b", False)],
)
def test_only_engines_that_serve_what_is_required_get_episodes(
    core: Any, adopted: int | None, incarnation: str, gets: bool
) -> None:
    """Newest 2, staleness 1: version 1 will do; another incarnation must call first."""
    weights.publish(core, kit.version(1))
    weights.publish(core, kit.version(2))
    heartbeats.heard(core, kit.beat("r", "rollout", "a", adopted=adopted))
    request = LeaseRequest(pod="r", incarnation=incarnation, want=1)
    assert (rollouts.lease(core, request) is not None) == gets


def test_nothing_is_leased_while_draining(core: Any) -> None:
    """Rollout pods are about to go."""
    heartbeats.heard(core, kit.beat("r", "rollout", "a", adopted=0))
    adopt.adopt(core, core.db, kit.desired(kit.spec(), drain=True))
    assert rollouts.lease(core, LeaseRequest(pod="r", incarnation="a", want=1)) is None


def test_the_registry_never_goes_back_and_knows_who_is_reachable(core: Any) -> None:
    """A dead attempt's versions are gone, except those that lie in the object store."""
    weights.publish(core, kit.version(1, anchor=True))
    weights.publish(core, kit.version(1))
    weights.publish(core, kit.version(2))
    reply = weights.query(core, "policy", 0)
    assert (reply.newest.version, reply.anchor.version, reply.required) == (2, 1, 1)
    adopt.adopt(core, core.db, kit.desired(kit.spec(), attempt=2))
    assert weights.query(core, "policy", 0).newest == kit.version(1, anchor=True)
    assert weights.query(core, "policy", 1) is None
    assert weights.status(core).published == 2
    with pytest.raises(StaleError):
        weights.publish(core, kit.version(3, attempt=1))
    weights.publish(core, kit.version(2, attempt=2))
    assert weights.query(core, "policy", 1).newest.attempt == 2
