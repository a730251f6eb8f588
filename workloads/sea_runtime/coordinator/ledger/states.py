"""The allowed moves of groups and episodes; every change of state goes through here.

    Issued -> Running -> Scored -> Filtered
                               `-> Admitted -> Assigned -> Covered

Issued: drawn from the dataset. Running: an episode was leased. Scored: all have rewards (an
evaluation's group ends here). Filtered: all rewards equal, zero advantage. Admitted: waits for a
batch. Assigned: part of the batch of a step. Covered: a committed checkpoint contains that step.
Failed: an episode had no verdict too often. Cancelled: the stage ended first. Scored -> Running:
an evaluation in which nothing could be judged tries again.
"""

from enum import StrEnum

from sea_runtime.coordinator.ledger.database import Database


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
    G.ADMITTED: frozenset({G.ASSIGNED, G.CANCELLED}),
    G.ASSIGNED: frozenset({G.COVERED}),
    G.FILTERED: frozenset(),
    G.COVERED: frozenset(),
    G.FAILED: frozenset(),
    G.CANCELLED: frozenset(),
}

EPISODE_MOVES: dict[EpisodeState, frozenset[EpisodeState]] = {
    E.PENDING: frozenset({E.LEASED, E.CANCELLED}),
    E.LEASED: frozenset({E.PENDING, E.DONE, E.FAILED, E.CANCELLED}),
    E.DONE: frozenset(),
    E.FAILED: frozenset({E.PENDING}),
    E.CANCELLED: frozenset(),
}


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
