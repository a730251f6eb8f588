"""Stages in the ledger: which one runs, since when, how far it has come.

Also what an evaluation stage has: its episodes with their verdicts, and the results it ended with.
"""

import sqlite3

from sea_api.wire.state import StagePhase
from sea_runtime.coordinator.ledger import groups
from sea_runtime.coordinator.ledger.database import Database


def phase(db: Database, stage: str) -> StagePhase:
    found = db.value("SELECT phase FROM stages WHERE name = ?", stage)
    return StagePhase.PENDING if found is None else StagePhase(found)


def start(db: Database, stage: str, now: float) -> bool:
    """Pending -> Running; False if it ran before."""
    if phase(db, stage) != StagePhase.PENDING:
        return False
    with db.transaction(durable=True):
        db.run(
            # A stage that goes on from another run's checkpoint keeps its place in the data.
            "INSERT INTO stages (name, phase, started) VALUES (?, ?, ?) "
            "ON CONFLICT (name) DO UPDATE SET phase = excluded.phase, started = excluded.started",
            stage,
            StagePhase.RUNNING,
            now,
        )
    return True


def finish(db: Database, stage: str, now: float) -> bool:
    """Nothing more is done in the stage; it is complete once its reports are written."""
    # Read outside the transaction: one event loop, and no `await` between here and the write.
    if phase(db, stage) != StagePhase.RUNNING or finished_at(db, stage) is not None:
        return False
    with db.transaction(durable=True):
        db.run("UPDATE stages SET finished = ? WHERE name = ?", now, stage)
        # With the mark, in one transaction: a kill in between would leave episodes
        # that can still be leased.
        groups.cancel_open(db, stage, now)
    return True


def complete(db: Database, stage: str, now: float) -> bool:
    """-> Complete, what it leaves open is cancelled; False if it was complete before."""
    if phase(db, stage) == StagePhase.COMPLETE:
        return False
    with db.transaction(durable=True):
        db.run(
            "INSERT INTO stages (name, phase, started, finished) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (name) DO UPDATE SET phase = excluded.phase, "
            # The first end counts: goodput and the timeline are measured up to it.
            "finished = COALESCE(finished, excluded.finished)",
            stage,
            StagePhase.COMPLETE,
            now,
            now,
        )
        groups.cancel_open(db, stage, now)
    return True


def finished_at(db: Database, stage: str) -> float | None:
    found: float | None = db.value("SELECT finished FROM stages WHERE name = ?", stage)
    return found


def started_at(db: Database, stage: str) -> float | None:
    found: float | None = db.value("SELECT started FROM stages WHERE name = ?", stage)
    return found


def plan(db: Database, stage: str, planned: int) -> None:
    """Sets how many episodes an evaluation has."""
    db.run("UPDATE stages SET planned = ? WHERE name = ?", planned, stage)


def judged_so_far(db: Database, stage: str) -> list[sqlite3.Row]:
    """`evaluated`, without those that are still to be played."""
    return [row for row in evaluated(db, stage) if row["state"] in ("Done", "Failed")]


def planned(db: Database, stage: str) -> int:
    return db.value("SELECT planned FROM stages WHERE name = ?", stage) or 0


def advance(db: Database, stage: str, made: int, planned: int) -> None:
    """Progress of a stage that makes things; it never goes back."""
    db.run(
        # A process that starts again first counts what it finds in its journals.
        "UPDATE stages SET cursor = MAX(cursor, ?), planned = ? WHERE name = ?",
        made,
        planned,
        stage,
    )


def made(db: Database, stage: str) -> int:
    return db.value("SELECT cursor FROM stages WHERE name = ?", stage) or 0


def judged(db: Database, stage: str) -> int:
    """Episodes that have a verdict or were given up on."""
    found: int = db.value(
        # The stage's groups first: of all stages there may be a hundred times as many episodes.
        "SELECT COUNT(*) FROM groups g CROSS JOIN episodes e ON e.group_number = g.number "
        "WHERE g.stage = ? AND e.state IN ('Done', 'Failed')",
        stage,
    )
    return found


def evaluated(db: Database, stage: str) -> list[sqlite3.Row]:
    """All episodes of the stage with task and verdict, in the order of tasks and trials."""
    return db.rows(
        "SELECT e.*, g.id AS group_id, g.row_key, g.domain, g.database, g.task FROM episodes e "
        "JOIN groups g ON g.number = e.group_number WHERE g.stage = ? "
        "ORDER BY g.number, e.sample",
        stage,
    )


def keep_result(db: Database, stage: str, domain: str, body: str) -> None:
    """Writes one domain's result as JSON."""
    db.run(
        "INSERT OR REPLACE INTO evaluations (stage, domain, body) VALUES (?, ?, ?)",
        stage,
        domain,
        body,
    )


def results(db: Database, stage: str) -> list[str]:
    """A stage's results as JSON, the average last."""
    found = db.rows(
        "SELECT body FROM evaluations WHERE stage = ? ORDER BY domain = 'average', domain", stage
    )
    return [row["body"] for row in found]
