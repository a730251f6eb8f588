"""Groups in the ledger: their life, drawing prompts, issuing them, counting them, ending them.

The allowed moves of groups and episodes; every change of state goes through here.

    Issued -> Running -> Scored -> Filtered
                               `-> Admitted -> Assigned -> Covered
                                            `-> Expired

Issued: drawn from the dataset. Running: an episode was leased. Scored: all have rewards (an
evaluation's group ends here). Filtered: dropped by the stage's `GroupFilter`. Admitted: waits for a
batch. Expired: too old for one. Assigned: part of the batch of a step. Covered: a committed
checkpoint contains that step. Failed: an episode had no verdict too often. Cancelled: the stage
ended first. Scored -> Running: an evaluation in which nothing could be judged tries again.
"""

import json
import math
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sea_runtime.coordinator.ledger import trajectories, transcripts
from sea_runtime.coordinator.ledger.database import Database
from sea_runtime.wire.rollouts import EpisodeKind

SHARE_GROUPS, MIN_SHARE_GROUPS = 64, 16
"""Newest finished groups that the kept share is counted over, and how many there must be."""
MIN_SHARE = 0.25
"""A stage that drops nearly all groups must not start any number of them."""


class IllegalMoveError(AssertionError):
    """A state may not follow another: a bug; the transaction is undone."""


class GroupState(StrEnum):
    ISSUED = "Issued"
    RUNNING = "Running"
    SCORED = "Scored"
    FILTERED = "Filtered"
    ADMITTED = "Admitted"
    ASSIGNED = "Assigned"
    COVERED = "Covered"
    FAILED = "Failed"
    CANCELLED = "Cancelled"
    EXPIRED = "Expired"


class EpisodeState(StrEnum):
    PENDING = "Pending"
    LEASED = "Leased"
    DONE = "Done"
    FAILED = "Failed"
    CANCELLED = "Cancelled"


G, E = GroupState, EpisodeState

GROUP_MOVES: dict[GroupState, frozenset[GroupState]] = {
    G.ISSUED: frozenset({G.RUNNING, G.CANCELLED}),
    G.RUNNING: frozenset({G.SCORED, G.FAILED, G.CANCELLED}),
    G.SCORED: frozenset({G.FILTERED, G.ADMITTED, G.RUNNING}),
    G.ADMITTED: frozenset({G.ASSIGNED, G.CANCELLED, G.EXPIRED}),
    G.ASSIGNED: frozenset({G.COVERED}),
    G.FILTERED: frozenset(),
    G.COVERED: frozenset(),
    G.FAILED: frozenset(),
    G.CANCELLED: frozenset(),
    G.EXPIRED: frozenset(),
}

EPISODE_MOVES: dict[EpisodeState, frozenset[EpisodeState]] = {
    E.PENDING: frozenset({E.LEASED, E.CANCELLED}),
    E.LEASED: frozenset({E.PENDING, E.DONE, E.FAILED, E.CANCELLED}),
    E.DONE: frozenset(),
    E.FAILED: frozenset({E.PENDING}),
    E.CANCELLED: frozenset(),
}

RUNNING = (GroupState.ISSUED, GroupState.RUNNING)
JUDGED = (G.SCORED, G.FILTERED, G.ADMITTED, G.EXPIRED, G.ASSIGNED, G.COVERED, G.CANCELLED)
"""States of groups that may have a reward."""


@dataclass(frozen=True)
class NewGroup:
    """A prompt about to become a group of `len(seeds)` episodes."""

    id: str
    stage: str
    kind: EpisodeKind
    row_key: str
    domain: str
    database: str | None
    task: dict[str, Any]
    seeds: Sequence[int]


@dataclass(frozen=True)
class GroupFilter:
    """Which scored groups an RL stage drops, and whether it keeps the dialogues of others."""

    constant: bool = True
    """Those whose rewards are all equal."""
    max_mean: float = math.inf
    """Those whose mean reward is above this."""
    keep_dialogues: bool = False

    def drops(self, rewards: Sequence[float]) -> bool:
        """`rewards` of the judged episodes of one group."""
        # Without any reward there is nothing to keep: the agent never had a turn in the group.
        # Equality, not a tolerance: an advantage is zero only if the rewards are exactly equal.
        return (
            not rewards
            or (self.constant and min(rewards) == max(rewards))
            or sum(rewards) / len(rewards) > self.max_mean
        )


def draw(db: Database, stage: str) -> int:
    """Takes the next place of the stage's dataset order; returns its number, from 0."""
    # In the transaction that issues the group: a kill can't skip a prompt or issue it twice.
    db.run("UPDATE stages SET cursor = cursor + 1 WHERE name = ?", stage)
    cursor: int = db.value("SELECT cursor - 1 FROM stages WHERE name = ?", stage)
    return cursor


def drawn(db: Database, stage: str) -> int:
    """How many prompts the stage has drawn."""
    return db.value("SELECT cursor FROM stages WHERE name = ?", stage) or 0


def issue(db: Database, group: NewGroup) -> int:
    """Writes the group and its pending episodes; returns its number."""
    db.run(
        "INSERT INTO groups (id, stage, kind, row_key, domain, database, task, samples, state) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        group.id,
        group.stage,
        group.kind,
        group.row_key,
        group.domain,
        group.database,
        json.dumps(group.task),
        len(group.seeds),
        GroupState.ISSUED,
    )
    # By id, which is unique: `run` returns a row count, not the last row's number.
    number: int = db.value("SELECT number FROM groups WHERE id = ?", group.id)
    for sample, seed in enumerate(group.seeds):
        db.run(
            "INSERT INTO episodes (group_number, sample, seed, state) VALUES (?, ?, ?, ?)",
            number,
            sample,
            seed,
            EpisodeState.PENDING,
        )
    return number


def move_group(db: Database, number: int, to: GroupState) -> None:
    """Raises IllegalMoveError if the table above does not allow the move."""
    found = db.value("SELECT state FROM groups WHERE number = ?", number)
    if found is None or to not in GROUP_MOVES[GroupState(found)]:
        raise IllegalMoveError(f"Group {number} can't go from {found} to {to}.")
    db.run("UPDATE groups SET state = ? WHERE number = ?", to, number)


def move_episode(db: Database, number: int, sample: int, to: EpisodeState) -> None:
    """Raises IllegalMoveError if the table above does not allow the move."""
    where = "group_number = ? AND sample = ?"
    found = db.value(f"SELECT state FROM episodes WHERE {where}", number, sample)  # noqa: S608
    if found is None or to not in EPISODE_MOVES[EpisodeState(found)]:
        raise IllegalMoveError(f"Episode {number}/{sample} can't go from {found} to {to}.")
    db.run(f"UPDATE episodes SET state = ? WHERE {where}", to, number, sample)  # noqa: S608


def counted(db: Database, stage: str, *states: GroupState) -> int:
    """Groups of a stage in these states.

    Asked at every lease, of states that few groups are in at a time: reads those and no others,
    however many the run has trained on.
    """
    count = "SELECT COUNT(*) FROM groups WHERE stage = ? AND state = ?"
    return sum(db.value(count, stage, state) for state in states)


def running(db: Database, stage: str) -> int:
    return counted(db, stage, *RUNNING)


def admitted(db: Database, stage: str) -> int:
    """Groups that wait for a batch."""
    return counted(db, stage, GroupState.ADMITTED)


def newest_judged(db: Database, stage: str) -> int:
    """Number of the newest group with a reward; 0 before the first."""
    # State by state, each from the end of the index: asked every second.
    newest = (
        "SELECT number FROM groups WHERE stage = ? AND state = ? AND mean_reward IS NOT NULL "
        "ORDER BY number DESC LIMIT 1"
    )
    return max(db.value(newest, stage, state) or 0 for state in JUDGED)


def by_number(db: Database, number: int) -> sqlite3.Row:
    found = db.row("SELECT * FROM groups WHERE number = ?", number)
    assert found is not None
    return found


def end(db: Database, number: int, to: GroupState, now: float, error: str | None = None) -> None:
    """Fails or cancels a group: its results are refused from now on, its blobs deleted."""
    rows = db.rows("SELECT sample, state FROM episodes WHERE group_number = ?", number)
    for sample, state in rows:
        if state in (EpisodeState.PENDING, EpisodeState.LEASED):
            move_episode(db, number, sample, EpisodeState.CANCELLED)
    move_group(db, number, to)
    db.run("UPDATE groups SET error = ?, finished = ? WHERE number = ?", error, now, number)
    prune(db, number)
    transcripts.drop(db, [number])


def cancel_open(db: Database, stage: str, now: float) -> int:
    """Cancels what a stage leaves behind when it ends; returns how many groups that were."""
    numbers = [
        row["number"]
        for state in (*RUNNING, GroupState.ADMITTED)
        for row in db.rows("SELECT number FROM groups WHERE stage = ? AND state = ?", stage, state)
    ]
    for number in numbers:
        end(db, number, GroupState.CANCELLED, now, "The stage ended before the group did.")
    transcripts.drop_uncounted(db, stage)
    return len(numbers)


def prune(db: Database, number: int) -> None:
    """Drops what only an open group needs: trajectories and the task, not the dialogues."""
    trajectories.drop(db, number)
    db.run("UPDATE groups SET task = NULL WHERE number = ?", number)


def newest_finished(db: Database, stage: str, limit: int) -> list[sqlite3.Row]:
    """Number, state and mean reward of the newest scored groups, newest first.

    Walks back from the newest group and no further, hence NOT INDEXED.
    """
    return db.rows(
        "SELECT number, state, mean_reward FROM groups NOT INDEXED WHERE stage = ? AND state IN "
        "('Filtered', 'Admitted', 'Assigned', 'Covered') ORDER BY number DESC LIMIT ?",
        stage,
        limit,
    )


def kept_share(db: Database, stage: str) -> float:
    """Share of the newest finished groups that weren't dropped; 1 before there are enough.

    What a running group counts for at the staleness gate: one that will be dropped fills no batch.
    """
    newest = newest_finished(db, stage, SHARE_GROUPS)
    if len(newest) < MIN_SHARE_GROUPS:
        return 1.0
    kept = sum(row["state"] != G.FILTERED for row in newest)
    return max(MIN_SHARE, kept / len(newest))


def dropped_ends(db: Database, from_number: int) -> list[sqlite3.Row]:
    """How the episodes of dropped groups ended: stop, turns, and how many of them."""
    return db.rows(
        "SELECT e.stop, e.turns, COUNT(*) AS episodes FROM groups g "
        "JOIN episodes e ON e.group_number = g.number WHERE g.number >= ? AND g.state = ? "
        "GROUP BY e.stop, e.turns",
        from_number,
        GroupState.FILTERED,
    )


def finished(db: Database) -> list[sqlite3.Row]:
    """All groups that ran and ended, with times and generated tokens."""
    return db.rows(
        "SELECT g.id, g.stage, g.state, g.step, g.started, g.finished, "
        "SUM(e.generated_tokens) AS tokens FROM groups g "
        "JOIN episodes e ON e.group_number = g.number "
        "WHERE g.started IS NOT NULL AND g.finished IS NOT NULL GROUP BY g.number"
    )
