"""The random histories find faults of the kinds that they are there for.

Each fault is put into the product while the suite's own histories are played. If none of them
finds it, they have become blind to its kind.
"""

import sqlite3
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from sea_data.object_store import StoreUnavailableError
from sea_runtime.coordinator import leases, rollback, snapshot, trainer_world
from sea_runtime.coordinator.bootstrap import Bootstrap
from sea_runtime.coordinator.job import Job
from sea_runtime.coordinator.ledger import (
    episodes,
    groups,
    lineage,
    registry,
    trajectories,
)
from sea_runtime.coordinator.ledger.database import Database
from sea_runtime.coordinator.ledger.groups import EpisodeState
from sea_runtime.coordinator.snapshot import Snapshots
from sea_runtime.coordinator.training import Training
from sea_runtime.coordinator.weights import WeightRegistry
from sea_runtime.trainer.checkpoint import commit
from sea_runtime.trainer.checkpoint import head as heads
from sea_runtime.wire import checkpoints
from sea_runtime.wire.checkpoints import Entry, Head
from sea_runtime.wire.trainer import TrainerTask
from sea_testing.coordinator import ledger_histories, run_histories

Put = Callable[[pytest.MonkeyPatch], object]


def attempts_are_not_fenced_by_the_coordinator(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Job, "require_attempt", lambda self, attempt: None)


def attempts_are_not_fenced_by_the_head(patch: pytest.MonkeyPatch) -> None:
    def fence(head: Head, attempt: int) -> Head:
        return head.model_copy(update={"attempt": attempt})

    patch.setattr(heads, "fence", fence)


def a_dead_attempts_version_is_offered(patch: pytest.MonkeyPatch) -> None:
    """With the addresses of processes that have gone."""

    def reachable(db: Database, stream: str, attempt: int, after: int) -> Any:
        body = db.value(
            "SELECT body FROM weights WHERE stream = ? AND version > ? AND body != '' "
            "ORDER BY version DESC LIMIT 1",
            stream,
            after,
        )
        return None if body is None else registry._parsed(body)

    patch.setattr(registry, "reachable", reachable)


def a_dead_attempts_version_counts_at_the_gate(patch: pytest.MonkeyPatch) -> None:
    """Versions of steps whose batches are drawn again now."""

    def published_steps(self: WeightRegistry, stage: Any) -> int:
        return max(0, self.newest("policy") - self._job.first_version())

    patch.setattr(WeightRegistry, "published_steps", published_steps)


def a_result_counts_again(patch: pytest.MonkeyPatch) -> None:
    """Neither the lease's state nor the table of moves stands against it."""
    real, add = episodes.by_lease, trajectories.add

    def by_lease(db: Database, lease_id: str) -> Any:
        row = real(db, lease_id)
        if row is None or row["state"] != EpisodeState.DONE:
            return row
        return {**dict(row), "state": EpisodeState.LEASED}

    def replace(db: Database, number: int, sample: int, *body: Any) -> None:
        where = "group_number = ? AND sample = ?"
        db.run(f"DELETE FROM trajectories WHERE {where}", number, sample)
        add(db, number, sample, *body)

    patch.setattr(episodes, "by_lease", by_lease)
    patch.setattr(trajectories, "add", replace)
    again = groups.EPISODE_MOVES[EpisodeState.DONE] | {EpisodeState.DONE}
    patch.setitem(groups.EPISODE_MOVES, EpisodeState.DONE, again)


def a_late_result_counts_for_another_worker(patch: pytest.MonkeyPatch) -> None:
    """Its lease was taken back, and given to the one whose episode it ends now."""
    real, accept = episodes.by_lease, leases.accept

    def by_lease(db: Database, lease_id: str) -> Any:
        group, sample, *_ = lease_id.split(".")
        number = db.value("SELECT number FROM groups WHERE id = ?", group)
        return real(db, lease_id) or episodes.by_place(db, number, int(sample))

    def from_anybody(db: Database, result: Any, *more: Any, **named: Any) -> bool:
        row = by_lease(db, result.lease_id)
        owner = {name: row[name] or "" for name in ("pod", "incarnation")}
        return accept(db, msgspec.structs.replace(result, **owner), *more, **named)

    patch.setattr(episodes, "by_lease", by_lease)
    patch.setattr(leases, "accept", from_anybody)


def silent_workers_keep_their_leases(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(leases, "expire", lambda db, gone, now: 0)


def a_lost_volumes_epoch_is_not_told(patch: pytest.MonkeyPatch) -> None:
    """So rank 0 doesn't publish again what the restored ledger lacks."""
    real = Training.task

    def task(self: Training, attempt: int) -> TrainerTask | None:
        found = real(self, attempt)
        return found and found.model_copy(update={"ledger_epoch": "same"})

    patch.setattr(Training, "task", task)


def a_smaller_world_has_the_old_size(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(trainer_world, "trainer_size", lambda desired: desired.spec.trainer.replicas)


def going_back_leaves_the_cursor(patch: pytest.MonkeyPatch) -> None:
    """The prompts between the checkpoint and the newest step are skipped."""
    left: list[int] = []
    again, write = Bootstrap.restore_again, Bootstrap._keep_rollback

    def restore_again(self: Bootstrap) -> None:
        left.append(groups.drawn(self._ledger.db, "rl"))
        again(self)

    def keep_rollback(self: Bootstrap, db: Database, *more: Any) -> None:
        write(self, db, *more)
        if left:
            db.run("UPDATE stages SET cursor = MAX(cursor, ?) WHERE name = 'rl'", left.pop())

    patch.setattr(Bootstrap, "restore_again", restore_again)
    patch.setattr(Bootstrap, "_keep_rollback", keep_rollback)


def engines_keep_weights_of_the_left_line(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lineage, "is_left_behind", lambda db, stream, beat: False)


def copies_of_the_left_line_are_offered(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(snapshot, "of_this_line", lambda anchors, line: list(anchors))


def engines_outlive_a_lost_volume(patch: pytest.MonkeyPatch) -> None:
    """With weights that were trained on batches that are drawn again."""
    patch.setattr(lineage, "restored", lambda db, line, attempt, ran: None)


def an_attempt_that_was_ahead_leaves_nothing_behind(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lineage, "begin_attempt", lambda db, stream, version, attempt: None)


def an_attempt_starts_again_after_a_lost_volume(patch: pytest.MonkeyPatch) -> None:
    """And publishes other weights under its numbers."""
    patch.setattr(lineage, "ran_before", lambda db, attempt: False)


def a_snapshot_that_failed_is_remembered(patch: pytest.MonkeyPatch) -> None:
    """As while the store was away: the checkpoint is never committed, whoever asks again."""
    failed: dict[tuple[str, int, int], StoreUnavailableError] = {}
    real = Snapshots.take

    async def take(self: Snapshots, *key: Any) -> Any:
        try:
            if key in failed:
                raise failed[key]
            return await real(self, *key)
        except StoreUnavailableError as error:
            failed[key] = error
            raise

    patch.setattr(Snapshots, "take", take)


def an_outage_refuses_a_request_to_go_back(patch: pytest.MonkeyPatch) -> None:
    """For good: the operator hears that the checkpoint is damaged."""
    real = rollback.find_problem

    def find_problem(*given: Any) -> str:
        try:
            return real(*given)
        except StoreUnavailableError:
            return "The checkpoint can't be read."

    patch.setattr(rollback, "find_problem", find_problem)


def going_back_forgets_what_is_pinned(patch: pytest.MonkeyPatch) -> None:
    """The next attempt deletes what the head doesn't list."""

    def gone_back(head: Head, *given: Any) -> tuple[Head, list[Entry]]:
        after, later = checkpoints.gone_back(head, *given)
        return after.model_copy(update={"kept": []}), later

    patch.setattr(rollback, "gone_back", gone_back)


def what_the_run_has_left_is_deleted(patch: pytest.MonkeyPatch) -> None:
    """Pinned checkpoints behind which it went back, and those whose head was lost."""
    patch.setattr(commit, "_listed", lambda head: set())


def checkpoints_without_a_head_are_deleted(patch: pytest.MonkeyPatch) -> None:
    """As if they had never been committed."""
    patch.setattr(commit, "MANIFEST", "no-manifest.json")


FOUND = (AssertionError, sqlite3.Error)
"""What a history ends with; the ledger's own constraints are the last line."""

RECOVERY: dict[Put, int] = {
    attempts_are_not_fenced_by_the_coordinator: 0,
    attempts_are_not_fenced_by_the_head: 5,
    a_dead_attempts_version_is_offered: 1,
    a_dead_attempts_version_counts_at_the_gate: 21,
    a_lost_volumes_epoch_is_not_told: 3,
    a_smaller_world_has_the_old_size: 12,
    going_back_leaves_the_cursor: 1,
    engines_keep_weights_of_the_left_line: 26,
    copies_of_the_left_line_are_offered: 26,
    engines_outlive_a_lost_volume: 5,
    an_attempt_that_was_ahead_leaves_nothing_behind: 5,
    an_attempt_starts_again_after_a_lost_volume: 5,
    a_snapshot_that_failed_is_remembered: 63,
    an_outage_refuses_a_request_to_go_back: 70,
    going_back_forgets_what_is_pinned: 60,
    what_the_run_has_left_is_deleted: 60,
    checkpoints_without_a_head_are_deleted: 61,
}
"""With the number of the first history that finds it."""
LEDGER: dict[Put, int] = {
    a_result_counts_again: 3,
    a_late_result_counts_for_another_worker: 7,
    silent_workers_keep_their_leases: 0,
}


def name_of(value: object) -> str:
    return getattr(value, "__name__", str(value))


@pytest.mark.parametrize(("fault", "first"), RECOVERY.items(), ids=name_of)
def test_a_fault_of_recovery_is_found(
    fault: Put, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault(monkeypatch)
    with pytest.raises(FOUND):
        # The others only where that one doesn't find it any more, since the histories have changed.
        run_histories.play([first, *run_histories.HISTORIES])


@pytest.mark.parametrize(("fault", "first"), LEDGER.items(), ids=name_of)
def test_a_fault_of_the_ledger_is_found(
    fault: Put, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault(monkeypatch)
    with pytest.raises(FOUND):
        ledger_histories.play([first, *ledger_histories.HISTORIES])
