"""Optimizer steps and checkpoints in the ledger, as the trainer reported them."""

import json
import sqlite3
from typing import NamedTuple

from sea_runtime.coordinator.ledger import batches
from sea_runtime.coordinator.ledger.database import Database
from sea_runtime.wire.trainer import CheckpointCommitted, StageProgress


class StepRow(NamedTuple):
    """One optimizer step as reported; `time` in unix seconds at its end."""

    step: int
    attempt: int
    time: float
    metrics: dict[str, float]
    number: int = 0
    """Number of the row, in the order of arrival."""


def add(db: Database, stage: str, row: StageProgress, now: float) -> None:
    """Keeps the row; the same step of the same attempt sent again changes nothing."""
    with db.transaction():
        db.run(
            # UNIQUE (stage, step, attempt) decides: a step computed again by a
            # later attempt is another row.
            "INSERT OR IGNORE INTO progress (stage, step, attempt, total_steps, metrics, time) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            stage,
            row.step,
            row.attempt,
            row.total_steps,
            json.dumps(row.metrics),
            now,
        )


def newest(db: Database, stage: str) -> sqlite3.Row | None:
    return db.row("SELECT * FROM progress WHERE stage = ? ORDER BY number DESC LIMIT 1", stage)


def steps(db: Database, stage: str, after: int = 0) -> list[StepRow]:
    """The rows of a stage behind number `after`, in the order of their arrival."""
    found = db.rows(
        "SELECT * FROM progress WHERE stage = ? AND number > ? ORDER BY number", stage, after
    )
    return [
        StepRow(row["step"], row["attempt"], row["time"], json.loads(row["metrics"]), row["number"])
        for row in found
    ]


def last_number(db: Database) -> int:
    """Grows with every row that arrives; 0 without one."""
    return db.value("SELECT MAX(number) FROM progress") or 0


def every(db: Database) -> list[sqlite3.Row]:
    """All rows of all stages in the order of their arrival."""
    return db.rows("SELECT * FROM progress ORDER BY number")


def step_of_attempt(db: Database, stage: str, attempt: int) -> int:
    """Last step that this attempt reported; 0 if it reported none."""
    return (
        db.value(
            "SELECT COALESCE(MAX(step), 0) FROM progress WHERE stage = ? AND attempt = ?",
            stage,
            attempt,
        )
        or 0
    )


def commit(db: Database, stage: str, checkpoint: CheckpointCommitted, now: float) -> int:
    """Keeps the checkpoint and covers its groups; returns how many were covered."""
    with db.transaction(durable=True):
        db.run(
            "INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?, ?, ?, ?)",
            stage,
            checkpoint.step,
            checkpoint.attempt,
            checkpoint.version,
            checkpoint.bytes,
            checkpoint.manifest_key,
            now,
        )
        # In one transaction with the row: a kill in between would keep trajectories that nobody
        # needs, or prune those that no known checkpoint has.
        return batches.cover(db, stage, checkpoint.step)


def last_committed(db: Database, stage: str) -> int:
    """Step of the stage's last checkpoint, 0 if it has none."""
    return db.value("SELECT MAX(step) FROM checkpoints WHERE stage = ?", stage) or 0


def newest_checkpoint(db: Database, stage: str | None = None) -> sqlite3.Row | None:
    """The checkpoint committed last, of one stage or of the whole job."""
    return db.row(
        "SELECT * FROM checkpoints WHERE ?1 IS NULL OR stage = ?1 "
        # Time first: each stage counts its steps from 1.
        "ORDER BY time DESC, step DESC LIMIT 1",
        stage,
    )
