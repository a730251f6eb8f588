"""Episodes in the ledger: leased, given back, finished. Rules about *when* are in `leases`."""

import json
import sqlite3
from dataclasses import dataclass

from sea_runtime.coordinator.errors import RefusedError
from sea_runtime.coordinator.ledger import groups, trajectories, transcripts
from sea_runtime.coordinator.ledger.database import Database
from sea_runtime.coordinator.ledger.groups import (
    EpisodeState,
    GroupFilter,
    GroupState,
    move_episode,
    move_group,
)
from sea_runtime.wire.rollouts import EpisodeKind, EpisodeResult

MAX_FAILURES = 5
NO_FILTER = GroupFilter()

WITH_GROUP = (
    "SELECT e.*, g.id AS group_id, g.stage, g.kind, g.domain, g.database, g.task, g.samples, "
    "g.row_key, g.state AS group_state FROM episodes e JOIN groups g ON g.number = e.group_number "
)


@dataclass(frozen=True)
class Worker:
    """The owner of a lease: a pod, in one life of its worker process."""

    pod: str
    incarnation: str


def pending(db: Database, stage: str, limit: int) -> list[sqlite3.Row]:
    """Episodes of a stage that wait for a worker, oldest group first."""
    return db.rows(
        WITH_GROUP + "WHERE e.state = 'Pending' AND g.stage = ? "
        "ORDER BY e.group_number, e.sample LIMIT ?",
        stage,
        limit,
    )


def leased_to(db: Database, worker: Worker) -> list[sqlite3.Row]:
    return db.rows(
        WITH_GROUP + "WHERE e.state = 'Leased' AND e.pod = ? AND e.incarnation = ?",
        worker.pod,
        worker.incarnation,
    )


def leased(db: Database) -> list[sqlite3.Row]:
    return db.rows(WITH_GROUP + "WHERE e.state = 'Leased'")


def leased_before(db: Database, time: float) -> list[sqlite3.Row]:
    """Leased episodes whose lease was given out before `time`, in unix seconds."""
    return db.rows(WITH_GROUP + "WHERE e.state = 'Leased' AND e.leased < ?", time)


def owners(db: Database) -> list[Worker]:
    """Workers that hold leases."""
    found = db.rows("SELECT DISTINCT pod, incarnation FROM episodes WHERE state = 'Leased'")
    return [Worker(row["pod"], row["incarnation"]) for row in found]


def count_pending(db: Database, stage: str, most: int) -> int:
    """Episodes of a stage that wait for a worker, counted up to `most`."""
    found: int = db.value(
        "SELECT COUNT(*) FROM (SELECT 1 FROM episodes e JOIN groups g ON g.number = e.group_number "
        "WHERE e.state = 'Pending' AND g.stage = ? LIMIT ?)",
        stage,
        most,
    )
    return found


def by_lease(db: Database, lease_id: str) -> sqlite3.Row | None:
    return db.row(WITH_GROUP + "WHERE e.lease_id = ?", lease_id)


def by_place(db: Database, number: int, sample: int) -> sqlite3.Row:
    found = db.row(WITH_GROUP + "WHERE e.group_number = ? AND e.sample = ?", number, sample)
    assert found is not None
    return found


def unjudged_in_a_row(db: Database, stage: str) -> tuple[int, str]:
    """Attempts without a verdict since the stage's last judged group, and the last error.

    0 while an episode of a running group is judged.
    """
    failed, error = db.rows(
        "SELECT COALESCE(SUM(e.unjudged), 0), MAX(e.error) FROM groups g NOT INDEXED "
        "CROSS JOIN episodes e ON e.group_number = g.number WHERE g.stage = ? AND g.number > ?",
        stage,
        groups.newest_judged(db, stage),
    )[0]
    judged = db.value(
        "SELECT COUNT(*) FROM groups g CROSS JOIN episodes e ON e.group_number = g.number "
        "WHERE g.stage = ? AND g.state = 'Running' AND e.state = 'Done'",
        stage,
    )
    return (0, "") if judged else (failed, error or "")


def lease(db: Database, row: sqlite3.Row, worker: Worker, epoch: str, now: float) -> None:
    """Pending -> Leased under a new lease id; the group is running from its first lease on."""
    number, sample, attempt = row["group_number"], row["sample"], row["attempt"] + 1
    move_episode(db, number, sample, EpisodeState.LEASED)
    db.run(
        "UPDATE episodes SET attempt = ?, lease_id = ?, pod = ?, incarnation = ?, leased = ? "
        "WHERE group_number = ? AND sample = ?",
        attempt,
        # `attempt` makes each hand-out unique within a ledger, `epoch` across restores,
        # which take `attempt` back.
        f"{row['group_id']}.{sample}.{attempt}.{epoch}",
        worker.pod,
        worker.incarnation,
        now,
        number,
        sample,
    )
    # Only the first lease: `started` is what the timeline shows as the group's begin.
    if groups.by_number(db, number)["state"] == GroupState.ISSUED:
        move_group(db, number, GroupState.RUNNING)
        db.run("UPDATE groups SET started = ? WHERE number = ?", now, number)


def give_back(db: Database, row: sqlite3.Row) -> None:
    """Leased -> Pending without blame (the worker shuts down)."""
    move_episode(db, row["group_number"], row["sample"], EpisodeState.PENDING)
    db.run(
        # Without its id a late result of this lease finds no row and is refused.
        "UPDATE episodes SET lease_id = NULL, pod = NULL, incarnation = NULL "
        "WHERE group_number = ? AND sample = ?",
        row["group_number"],
        row["sample"],
    )


def fail(db: Database, row: sqlite3.Row, error: str, now: float, *, reported: bool) -> None:
    """No verdict this time: run it again; after MAX_FAILURES give up on it.

    `reported`: a worker said so, rather than that it is gone.

    Giving up replaces the whole group in training, where another prompt is as good, and leaves
    one trial out in an evaluation, where it isn't.
    """
    number, sample, failures = row["group_number"], row["sample"], row["failures"] + 1
    db.run(
        "UPDATE episodes SET failures = ?, unjudged = unjudged + ?, error = ? "
        "WHERE group_number = ? AND sample = ?",
        failures,
        reported,
        error,
        number,
        sample,
    )
    # Counts lost workers too: an episode that kills its worker must not kill them all.
    if failures < MAX_FAILURES:
        give_back(db, row)
    elif row["kind"] == EpisodeKind.TRAIN:
        groups.end(db, number, GroupState.FAILED, now, error)
    else:
        move_episode(db, number, sample, EpisodeState.FAILED)
        _close_group(db, row, now)


def finish(
    db: Database,
    row: sqlite3.Row,
    result: EpisodeResult,
    now: float,
    *,
    file: str | None = None,
    rule: GroupFilter,
) -> None:
    """Leased -> Done with a reward; the last episode of a group scores the group.

    `file` has the trajectory's bytes if it is large. `rule` decides if the group is dropped, and if
    the dialogue of a training episode is kept for the run's folder.
    """
    number, sample = row["group_number"], row["sample"]
    move_episode(db, number, sample, EpisodeState.DONE)
    db.run(
        "UPDATE episodes SET reward = ?, finished = ?, stop = ?, turns = ?, generated_tokens = ?, "
        "mean_version = ?, error = NULL WHERE group_number = ? AND sample = ?",
        result.reward,
        now,
        result.stop,
        result.turns,
        result.generated_tokens,
        result.mean_version,
        number,
        sample,
    )
    if row["kind"] == EpisodeKind.EVAL:
        # An evaluation keeps its transcripts for the report; its trajectories
        # would only fill the volume.
        _keep_report(db, row, result)
    elif result.trajectory is not None:
        trajectories.add(db, number, sample, result.trajectory, file)
        if rule.keep_dialogues:
            transcripts.keep(db, row, result)
    # Last, in the same transaction: it counts this episode as done.
    _close_group(db, row, now, rule)


def end_unasked(
    db: Database, row: sqlite3.Row, result: EpisodeResult, now: float, rule: GroupFilter
) -> None:
    """Leased -> Failed: the agent never had a turn, so there is no verdict and no second attempt.

    The group goes on without it: its reward would be about nothing that the policy did.
    """
    number, sample = row["group_number"], row["sample"]
    move_episode(db, number, sample, EpisodeState.FAILED)
    db.run(
        "UPDATE episodes SET finished = ?, stop = ?, turns = 0, unjudged = unjudged + 1, error = ? "
        "WHERE group_number = ? AND sample = ?",
        now,
        result.stop,
        result.error,
        number,
        sample,
    )
    if row["kind"] == EpisodeKind.EVAL:
        _keep_report(db, row, result)
    _close_group(db, row, now, rule)


def retry_failed(db: Database, stage: str) -> int:
    """Gives episodes that were given up on another chance; returns how many."""
    rows = db.rows(WITH_GROUP + "WHERE e.state = 'Failed' AND g.stage = ?", stage)
    for row in rows:
        give_back(db, row)
        db.run(
            "UPDATE episodes SET failures = 0, unjudged = 0, stop = NULL "
            "WHERE group_number = ? AND sample = ?",
            row["group_number"],
            row["sample"],
        )
        # Once per group: its other episodes find it running already.
        if groups.by_number(db, row["group_number"])["state"] == GroupState.SCORED:
            move_group(db, row["group_number"], GroupState.RUNNING)
    return len(rows)


def _keep_report(db: Database, row: sqlite3.Row, result: EpisodeResult) -> None:
    report = {
        "details": result.details,
        "seconds": result.seconds,
        "transcript": result.transcript,
    }
    try:
        # `default` serves values only: a key that JSON can't have raises TypeError.
        text = json.dumps(report, default=str)
    except TypeError as error:
        raise RefusedError(f"The result's transcript or details are no JSON: {error}.") from error
    db.run(
        "UPDATE episodes SET report = ? WHERE group_number = ? AND sample = ?",
        text,
        row["group_number"],
        row["sample"],
    )


def _close_group(db: Database, row: sqlite3.Row, now: float, rule: GroupFilter = NO_FILTER) -> None:
    number = row["group_number"]
    open_episodes = db.value(
        "SELECT COUNT(*) FROM episodes WHERE group_number = ? AND state IN ('Pending', 'Leased')",
        number,
    )
    if open_episodes:
        return
    done = "SELECT reward FROM episodes WHERE group_number = ? AND state = 'Done'"
    rewards = [reward for (reward,) in db.rows(done, number)]
    # None: no episode of the group has a verdict; `unjudged_in_a_row` relies on NULL.
    mean = sum(rewards) / len(rewards) if rewards else None
    move_group(db, number, GroupState.SCORED)
    db.run("UPDATE groups SET mean_reward = ?, finished = ? WHERE number = ?", mean, now, number)
    if row["kind"] == EpisodeKind.TRAIN:
        _filter(db, number, rule.drops(rewards))


def _filter(db: Database, number: int, dropped: bool) -> None:
    """A dropped group is replaced by another prompt."""
    if dropped:
        move_group(db, number, GroupState.FILTERED)
        groups.prune(db, number)
        transcripts.bound_dropped(db, groups.by_number(db, number)["stage"])
    else:
        move_group(db, number, GroupState.ADMITTED)
