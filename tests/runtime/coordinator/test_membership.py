"""Worlds, failures, drains and who may lease, in a coordinator without HTTP."""

import json
from pathlib import Path
from typing import Any

import pytest

from sea_api.v1alpha1.policy import Cause
from sea_runtime.coordinator.app import Components
from sea_runtime.coordinator.errors import NotReadyError, RefusedError, StaleError
from sea_runtime.coordinator.ledger import lineage, stages
from sea_runtime.coordinator.trainer_world import RECENT_SECONDS, WorldRecord
from sea_runtime.wire.membership import HeartbeatReply, PodState
from sea_runtime.wire.rollouts import LeaseRequest
from sea_runtime.wire.trainer import CheckpointCommitted, StageProgress, TaskKind
from sea_runtime.wire.weights import WrongWeights
from sea_testing.coordinator import inprocess as kit


@pytest.fixture
def clock() -> kit.Clock:
    return kit.Clock()


@pytest.fixture
def core(tmp_path: Path, clock: kit.Clock) -> Components:
    return kit.coordinator(tmp_path, kit.desired(kit.spec()), clock)


def beat(
    core: Components, rank: int, life: str = "a", attempt: int = 0, **more: Any
) -> HeartbeatReply:
    message = kit.beat(
        f"job-trainer-{rank}",
        "trainer",
        life,
        attempt=attempt,
        address=more.pop("address", f"10.0.0.{rank}"),
        state=more.pop("state", PodState.STARTING),
        **more,
    )
    return core.heartbeats.heard(message)


def test_a_world_is_formed_when_all_have_called(core: Components) -> None:
    """Rank order is the ordinals' order, rank 0 is the master."""
    assert beat(core, 1).world is None
    assert core.state.assemble().rank_pods == []
    found = beat(core, 0)
    assert found.run
    assert core.state.assemble().rank_pods == ["job-trainer-0", "job-trainer-1"]
    world = kit.some(found.world)
    assert world.pods == ["job-trainer-0", "job-trainer-1"]
    assert (world.master_address, world.master_port) == ("10.0.0.0", 29501)
    assert beat(core, 1).world == found.world


def test_processes_that_have_outlived_the_ledger_go_on_once_all_have_called(
    core: Components,
) -> None:
    """The first to call must not be ended because the others have yet to."""
    lineage.restored(core.ledger.db, {"policy": 0}, 1, ran=True)
    with pytest.raises(NotReadyError, match="Attempt 1 has outlived the ledger"):
        beat(core, 0, attempt=1, state=PodState.READY)
    assert beat(core, 1, attempt=1, state=PodState.READY).run
    assert beat(core, 0, attempt=1, state=PodState.READY).run
    assert core.rendezvous.failure is None


@pytest.mark.parametrize("ended", ["attempt 0", "failed"])
def test_an_attempt_does_not_start_again_in_a_restored_ledger(core: Components, ended: str) -> None:
    """It would publish other weights under its numbers: the next one goes on."""
    lineage.restored(core.ledger.db, {"policy": 0}, 1, ran=True)
    with pytest.raises(NotReadyError):
        beat(core, 0, attempt=1, state=PodState.READY)
    if ended == "failed":
        assert not beat(core, 1, attempt=1, state=PodState.FAILED).run
    else:
        assert not beat(core, 1).run
    failure = kit.some(core.state.assemble().trainer_failure)
    assert (failure.attempt, failure.pod) == (1, "job-trainer-1")
    assert "its processes in job-trainer-1 have ended" in failure.message
    assert not beat(core, 0, attempt=1, state=PodState.READY).run
    core.job.adopt(kit.desired(kit.spec(), attempt=2))
    beat(core, 0)
    assert beat(core, 1).run


def test_before_joining_a_pod_may_be_replaced_unless_it_is_the_master(core: Components) -> None:
    """Nobody was told its address."""
    world = (beat(core, 0), beat(core, 1))[1].world
    assert beat(core, 1, "b").world == world
    assert core.rendezvous.failure is None
    assert not beat(core, 0, "b").run
    assert kit.some(core.rendezvous.failure).pod == "job-trainer-0"


def test_after_joining_a_new_process_means_failure(core: Components) -> None:
    """Its training processes died with the old one."""
    beat(core, 0)
    beat(core, 1)
    beat(core, 0, attempt=1, state=PodState.READY)
    assert not beat(core, 1, "b").run
    assert not beat(core, 0, attempt=1, state=PodState.READY).run
    failure = kit.some(core.state.assemble().trainer_failure)
    assert (failure.attempt, failure.pod, failure.cause) == (1, "job-trainer-1", "ProcessExit")


def test_the_first_failure_is_reported_and_a_new_attempt_forgets_it(core: Components) -> None:
    """What follows a failure is its consequence."""
    beat(core, 0)
    beat(core, 1)
    failed: dict[str, Any] = {"attempt": 1, "state": PodState.FAILED}
    beat(core, 1, cause=Cause.OUT_OF_MEMORY, detail="killed", **failed)
    beat(core, 0, cause=Cause.PROCESS_EXIT, detail="peer lost", **failed)
    assert kit.some(core.rendezvous.failure).cause == Cause.OUT_OF_MEMORY
    core.job.adopt(kit.desired(kit.spec(), attempt=2))
    assert core.state.assemble().trainer_failure is None
    beat(core, 0, attempt=1, state=PodState.FAILED)
    reply = beat(core, 1, attempt=1, state=PodState.FAILED)
    assert kit.some(reply.world).attempt == 2
    assert core.rendezvous.failure is None
    with pytest.raises(StaleError, match="attempt 2 is current"):
        core.training.task(1)


def test_a_users_mistake_is_the_jobs_problem_until_the_next_attempt(core: Components) -> None:
    beat(core, 0)
    beat(core, 1)
    failed: dict[str, Any] = {"attempt": 1, "state": PodState.FAILED, "cause": Cause.USER_ERROR}
    assert not beat(core, 1, detail="The layout needs 4 ranks.", **failed).run
    core.controller.find_problems()
    found = core.state.assemble()
    assert found.problem is not None
    assert found.problem.message.startswith("The layout needs 4 ranks.")
    assert found.trainer_failure is not None
    assert found.trainer_failure.spec_generation == 1
    core.job.adopt(kit.desired(kit.spec(), attempt=2))
    core.controller.find_problems()
    assert core.state.assemble().problem is None


def test_attempts_never_go_back(core: Components) -> None:
    """An operator that lost its status learns the attempt from us."""
    core.job.adopt(kit.desired(kit.spec(), attempt=3))
    core.job.adopt(kit.desired(kit.spec(), attempt=1))
    assert core.state.assemble().attempt == 3


RESIZES = {"rules": [{"role": "Trainer", "action": "Resize"}]}
"""Without an elastic trainer: release 0.1.0 admitted it, and today's rules refuse it."""


def store_spec(core: Components, patch: dict[str, Any]) -> dict[str, Any]:
    """As another release has written it into the ledger."""
    core.job.adopt(kit.desired(kit.spec(), attempt=4))
    body: dict[str, Any] = json.loads(core.ledger.db.text("desired") or "")
    body["spec"] |= patch
    core.ledger.db.put_text("desired", json.dumps(body))
    core.job.load()
    return body


def test_a_spec_that_breaks_a_newer_rule_stays_in_force(core: Components) -> None:
    """What has been running since an older release admitted it goes on."""
    body = store_spec(core, {"failurePolicy": RESIZES})
    assert core.state.assemble().spec_digest == body["digest"]
    assert kit.some(core.job.known).spec.failure_policy.rules[0].action == "Resize"


def test_a_stored_spec_that_cannot_be_read_gives_way(core: Components) -> None:
    body = store_spec(core, {"domains": "shop"})
    assert core.job.known is None
    assert core.state.assemble().spec_digest != body["digest"]
    with pytest.raises(NotReadyError):
        beat(core, 0)
    core.job.adopt(kit.desired(kit.spec(), attempt=3))
    assert core.job.attempt == 4


def test_no_process_is_ended_while_the_ledger_is_restored(core: Components) -> None:
    """Trainer and workers outlive the coordinator's volume; an empty reply would end them. That
    they called counts all the same."""
    beat(core, 0)
    beat(core, 1)
    assert beat(core, 0, attempt=1, state=PodState.READY).run
    core.bootstrap.restore_again()
    with pytest.raises(NotReadyError):
        beat(core, 0, attempt=1, state=PodState.READY)
    assert core.membership.get("job-trainer-0") is not None


def test_a_job_is_drained_once_everything_is_committed_and_stopped(core: Components) -> None:
    """Running processes, and steps without a checkpoint, hold a drain up."""
    beat(core, 0)
    beat(core, 1)
    for rank in (0, 1):
        beat(core, rank, attempt=1, state=PodState.READY)
    row = StageProgress(attempt=1, step=2, total_steps=3, metrics={})
    core.training.report("rl", row)
    core.job.adopt(kit.desired(kit.spec(), drain=True))
    assert kit.some(core.training.task(1)).kind == TaskKind.STOP
    assert beat(core, 1, attempt=1, state=PodState.READY).run
    assert not core.rendezvous.drained
    assert not beat(core, 0).run
    beat(core, 1)
    assert not core.rendezvous.drained
    commit = CheckpointCommitted(attempt=1, step=2, version=2, bytes=1, manifest_key="k")
    core.training.committed("rl", commit)
    assert core.rendezvous.drained
    core.job.adopt(kit.desired(kit.spec()))
    assert not core.rendezvous.drained
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
async def test_a_commit_that_was_never_reported_ends_the_drain(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, steps: tuple[int, ...], drained: bool
) -> None:
    """Rank 0 died between head.json and its report; lost steps are logged."""
    store = OneObject(*steps)
    core = kit.coordinator(tmp_path, kit.desired(kit.spec()), kit.Clock(), store)
    beat(core, 0)
    beat(core, 1)
    core.training.report("rl", StageProgress(attempt=1, step=2, total_steps=3, metrics={}))
    core.job.adopt(kit.desired(kit.spec(), drain=True))
    for rank in (0, 1):
        beat(core, rank, attempt=1, state=PodState.READY)
    await core.commit_recovery.look()
    assert store.reads == 0
    for rank in (0, 1):
        beat(core, rank)
    await core.commit_recovery.look()
    await core.commit_recovery.look()
    assert store.reads == 1
    assert core.rendezvous.drained == drained
    assert ("no checkpoint has" in caplog.text) == (not drained)


def test_an_attempt_that_loses_a_pod_commits_before_it_ends(core: Components) -> None:
    """An eviction: rank 0, in another pod, is told to stop, and gets no further batch."""
    beat(core, 0)
    beat(core, 1)
    for rank in (0, 1):
        beat(core, rank, attempt=1, state=PodState.READY)
    assert kit.some(core.training.task(1)).kind == TaskKind.RL
    assert beat(core, 1, attempt=1, state=PodState.READY, leaving=True).run
    assert kit.some(core.training.task(1)).kind == TaskKind.STOP
    assert core.training.batch("rl", 1, 1) == b""
    assert core.rendezvous.failure is None
    beat(core, 0, attempt=0)
    assert not beat(core, 1, "its successor").run, "the operator begins the next attempt"
    assert core.rendezvous.failure is not None
    core.job.adopt(kit.desired(kit.spec(), attempt=2))
    assert not core.rendezvous.ends_early


def test_all_ranks_of_an_attempt_that_hangs_keep_their_stacks(core: Components) -> None:
    for rank in (0, 1):
        beat(core, rank)
        beat(core, rank, attempt=1, state=PodState.READY)
    assert beat(core, 0, attempt=1, state=PodState.READY).keep_stacks == 0
    beat(core, 1, attempt=1, state=PodState.FAILED, cause=Cause.HANG, detail="silent")
    found = beat(core, 0, attempt=1, state=PodState.READY)
    assert (found.run, found.keep_stacks) == (False, 1)


def test_a_pod_that_had_too_little_time_says_so(core: Components) -> None:
    for rank in (0, 1):
        beat(core, rank)
        beat(core, rank, attempt=1, state=PodState.READY)
    beat(core, 1, attempt=1, state=PodState.READY, leaving=True)
    beat(core, 1, "its successor")
    assert "Raise checkpoint.graceSeconds" in kit.some(core.rendezvous.failure).message


def sized(core: Components, size: int, attempt: int) -> None:
    core.job.adopt(kit.desired(kit.spec(), attempt=attempt, trainer_size=size))


@pytest.mark.parametrize("alive", [0, 1])
def test_a_smaller_world_takes_the_pods_that_call(core: Components, alive: int) -> None:
    """The other's node is gone, whichever its number is."""
    sized(core, 1, 2)
    world = kit.some(beat(core, alive).world)
    assert (world.attempt, world.pods) == (2, [f"job-trainer-{alive}"])
    assert world.master_address == f"10.0.0.{alive}"


def test_a_spare_pod_holds_no_rank_and_fails_nothing(core: Components) -> None:
    sized(core, 1, 2)
    beat(core, 0)
    assert beat(core, 1).world is None
    assert beat(core, 1, "another life").world is None
    assert core.rendezvous.failure is None
    assert core.state.assemble().rank_pods == ["job-trainer-0"]


def test_an_attempt_that_makes_room_for_another_size_commits_and_ends(core: Components) -> None:
    sized(core, 1, 2)
    beat(core, 0)
    beat(core, 0, attempt=2, state=PodState.READY)
    assert kit.some(core.training.task(2)).kind == TaskKind.RL
    sized(core, 2, 2)
    assert beat(core, 0, attempt=2, state=PodState.READY).run, "until its checkpoint is committed"
    assert kit.some(core.training.task(2)).kind == TaskKind.STOP
    assert core.training.batch("rl", 1, 2) == b""
    assert core.state.assemble().resized_attempt == 0
    assert not beat(core, 0, attempt=0).run, "its processes don't run the same attempt again"
    assert core.state.assemble().resized_attempt == 2
    # An edit that comes now changes nothing of it.
    core.job.adopt(kit.desired(kit.spec(), attempt=2, trainer_size=2, generation=3))
    assert core.state.assemble().resized_attempt == 2
    sized(core, 2, 3)
    assert core.state.assemble().resized_attempt == 0
    beat(core, 0)
    assert len(kit.some(beat(core, 1).world).pods) == 2


def test_an_edit_while_rank_0_commits_for_another_size_doesnt_hold_it_up(core: Components) -> None:
    sized(core, 1, 2)
    beat(core, 0)
    beat(core, 0, attempt=2, state=PodState.READY)
    sized(core, 2, 2)
    assert kit.some(core.training.task(2)).kind == TaskKind.STOP
    core.job.adopt(kit.desired(kit.spec(), attempt=2, trainer_size=2, generation=3))
    assert not beat(core, 0, attempt=0).run
    assert core.state.assemble().resized_attempt == 2


def test_a_failure_while_room_is_made_is_a_failure(core: Components) -> None:
    sized(core, 1, 2)
    beat(core, 0)
    beat(core, 0, attempt=2, state=PodState.READY)
    sized(core, 2, 2)
    core.training.task(2)
    beat(core, 0, attempt=2, state=PodState.FAILED, cause=Cause.PROCESS_EXIT, detail="boom")
    assert core.state.assemble().resized_attempt == 0
    assert kit.some(core.rendezvous.failure).message == "boom"


def test_a_pod_that_died_with_the_attempt_before_gets_no_rank_in_the_next(
    core: Components, clock: kit.Clock
) -> None:
    """Its last heartbeat still counts as a living pod's; its address and process are gone."""
    beat(core, 1)
    beat(core, 0)
    beat(core, 1, attempt=1, state=PodState.FAILED, cause=Cause.PROCESS_EXIT, detail="peer lost")
    clock.now += 3
    core.job.adopt(kit.desired(kit.spec(), attempt=2))
    assert beat(core, 1, attempt=1, state=PodState.FAILED).world is None
    clock.now += 60
    beat(core, 1)
    world = kit.some(beat(core, 0, "its successor", address="10.0.0.9").world)
    assert (world.attempt, world.master_address) == (2, "10.0.0.9")
    assert core.rendezvous.failure is None


def test_a_pod_that_falls_silent_while_another_is_awaited_gets_no_rank(
    core: Components, clock: kit.Clock
) -> None:
    beat(core, 0)
    clock.now += RECENT_SECONDS + 1
    assert core.membership.get("job-trainer-0") is not None
    assert beat(core, 1).world is None
    assert beat(core, 0).world is not None


@pytest.mark.parametrize(
    ("calls", "silent", "expected"),
    [
        ("012", "", (0, 1)),
        ("12", "", None),
        ("12", "0", (1, 2)),
        ("02", "1", (0, 2)),
        ("1", "0", None),
        ("210", "", (0, 1)),
    ],
)
def test_spares_take_the_ranks_of_pods_that_are_gone_and_of_no_others(
    core: Components, clock: kit.Clock, calls: str, silent: str, expected: tuple[int, ...] | None
) -> None:
    """`calls` have called since the attempt began; `silent` fell silent before."""
    for ordinal in silent:
        beat(core, int(ordinal))
    clock.now += RECENT_SECONDS + 1
    for ordinal in set("012") - set(silent):
        beat(core, int(ordinal))
    desired = kit.desired(kit.spec(), attempt=2, trainer_size=2)
    core.job.adopt(desired.model_copy(update={"trainer_pods": 3}))
    for ordinal in calls:
        beat(core, int(ordinal))
    core.rendezvous.answer(kit.some(core.membership.get(f"job-trainer-{calls[-1]}")))
    record = core.ledger.db.document("world", WorldRecord)
    pods = None if expected is None else [f"job-trainer-{ordinal}" for ordinal in expected]
    found = record if record and record.world.attempt == 2 else None
    assert (found and found.world.pods) == pods


def test_a_world_that_an_older_release_wrote_goes_on(core: Components) -> None:
    beat(core, 0)
    world = beat(core, 1).world
    body = json.loads(core.ledger.db.text("world") or "")
    del body["trainer"]
    core.ledger.db.put_text("world", json.dumps(body))
    assert beat(core, 1).world == world
    beat(core, 0, attempt=1, state=PodState.READY)
    task = kit.some(core.training.task(1))
    assert (task.kind, kit.some(task.spec).trainer) == (TaskKind.RL, core.job.desired.spec.trainer)


@pytest.mark.parametrize("joined", [True, False])
def test_a_pod_that_has_nothing_to_commit_leaves_at_once(core: Components, joined: bool) -> None:
    beat(core, 0)
    beat(core, 1)
    state = PodState.READY if joined else PodState.STARTING
    for rank in (0, 1):
        beat(core, rank, attempt=1, state=state)
    if joined:
        stages.finish(core.ledger.db, "rl", 1.0)
    assert not beat(core, 1, attempt=1, state=state, leaving=True).run
    assert beat(core, 0, attempt=1, state=state).run
    assert core.rendezvous.ends_early == joined


def test_a_silent_trainer_counts_as_running_at_first(core: Components, clock: kit.Clock) -> None:
    """A coordinator that has just started doesn't know yet."""
    core.job.adopt(kit.desired(kit.spec(), drain=True))
    assert not core.rendezvous.drained
    clock.now += 16.0
    assert core.rendezvous.drained


@pytest.mark.parametrize(
    ("adopted", "incarnation", "gets"),
    [(1, "a", True), (2, "a", True), (0, "a", False), (None, "a", False), (2, "b", False)],
)
def test_only_engines_that_serve_what_is_required_get_episodes(
    core: Components, adopted: int | None, incarnation: str, gets: bool
) -> None:
    """Newest 2, staleness 1: version 1 will do; another incarnation must call first."""
    kit.fix_batches(core, 2)
    core.weights.publish(kit.version(1))
    core.weights.publish(kit.version(2))
    core.heartbeats.heard(kit.beat("r", "rollout", "a", adopted=adopted))
    request = LeaseRequest(pod="r", incarnation=incarnation, want=1)
    assert (core.scheduler.lease(request) is not None) == gets


def test_nothing_is_leased_while_draining(core: Components) -> None:
    """Rollout pods are about to go."""
    core.heartbeats.heard(kit.beat("r", "rollout", "a", adopted=0))
    core.job.adopt(kit.desired(kit.spec(), drain=True))
    assert core.scheduler.lease(LeaseRequest(pod="r", incarnation="a", want=1)) is None


def test_an_engine_that_starts_after_the_trainer_has_gone_is_sent_to_the_store_alone(
    core: Components,
) -> None:
    """It would wait for each shard of a trainer that is at size 0 in this stage."""
    published = kit.version(1, anchor=True)
    fast = {"nixl_agent": "a", "nixl_metadata": "m", "nixl_address": 7}
    shards = [shard.model_copy(update=fast) for shard in published.shards]
    core.weights.publish(published.model_copy(update={"shards": shards}))
    assert kit.some(kit.some(core.weights.query("policy", 0)).newest).shards == shards
    core.job.adopt(kit.desired(kit.spec(), attempt=2))
    reply = kit.some(core.weights.query("policy", 0))
    assert [shard.nixl_agent for shard in kit.some(reply.newest).shards] == [None]
    assert [shard.object_url for shard in kit.some(reply.newest).shards] == [
        shard.object_url for shard in shards
    ]
    assert reply.anchor is None


@pytest.mark.parametrize(
    ("engines", "line", "stored"),
    [
        ([], "", False),
        ([("NIXL", ""), ("NIXL", "")], "NIXL: 2 engines", False),
        (
            [("NIXL", ""), ("Delta", "NIXL trainer-1: timed out.")],
            "Delta: 1 engine (rollout-1: NIXL trainer-1: timed out.); NIXL: 1 engine",
            True,
        ),
        ([("", "gone")], "None: 1 engine (rollout-0: gone)", True),
    ],
)
def test_the_status_says_how_engines_get_versions_and_why(
    core: Components, engines: list[tuple[str, str]], line: str, stored: bool
) -> None:
    """One that can't read from the trainer has it store every version."""
    kit.fix_batches(core, 1)
    for index, (transport, why) in enumerate(engines):
        more = {"transport": transport, "unreachable": why, "adopted": 1}
        core.membership.heard(kit.beat(f"rollout-{index}", "rollout", "i", **more))
    assert core.weights.status().transport == (line or None)
    assert core.weights.must_be_stored("policy") == stored
    assert not core.weights.must_be_stored("user")
    task = core.training.task(1)
    assert task is not None
    assert task.store_versions == stored


def test_the_line_about_transports_is_bounded(core: Components) -> None:
    for index in range(400):
        more = {"transport": f"T{index}", "unreachable": "x" * 300}
        core.membership.heard(kit.beat(f"rollout-{index}", "rollout", "i", **more))
    assert len(core.weights.status().transport or "") == 512


def test_wrong_weights_of_an_engine_are_in_the_status(core: Components) -> None:
    """The newest; after a restart of the coordinator too, since it is in the ledger."""
    assert core.weights.status().last_wrong is None
    for version in (3, 4):
        core.weights.wrong(
            "policy", WrongWeights(pod="rollout-0", version=version, tensors=["a.weight"])
        )
    found = kit.some(core.weights.status().last_wrong)
    assert (found.pod, found.version, found.tensors) == ("rollout-0", 4, ["a.weight"])
    with pytest.raises(RefusedError):
        core.weights.wrong("other", WrongWeights(pod="p", version=1, tensors=[]))


def test_the_registry_never_goes_back_and_knows_who_is_reachable(core: Components) -> None:
    """A dead attempt's versions are gone, except those that lie in the object store."""
    kit.fix_batches(core, 2)
    core.weights.publish(kit.version(1, anchor=True))
    core.weights.publish(kit.version(1))
    core.weights.publish(kit.version(2))
    reply = kit.some(core.weights.query("policy", 0))
    versions = kit.some(reply.newest).version, kit.some(reply.anchor).version
    assert (*versions, reply.required) == (2, 1, 1)
    core.job.adopt(kit.desired(kit.spec(), attempt=2))
    assert kit.some(core.weights.query("policy", 0)).newest == kit.version(1, anchor=True)
    assert core.weights.query("policy", 1) is None
    assert core.weights.status().published == 2
    with pytest.raises(StaleError):
        core.weights.publish(kit.version(3, attempt=1))
    core.weights.publish(kit.version(2, attempt=2))
    newest = kit.some(core.weights.query("policy", 1)).newest
    assert kit.some(newest).attempt == 2
