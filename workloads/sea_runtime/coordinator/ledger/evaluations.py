"""Evaluations in the ledger: their episodes with verdicts, and the results that were reported."""

import sqlite3

from sea_runtime.coordinator.ledger.database import Database


def judged(db: Database, stage: str) -> int:
    """Episodes that have a verdict or were given up on."""
    found: int = db.value(
        "SELECT COUNT(*) FROM episodes e JOIN groups g ON g.number = e.group_number "
        "WHERE g.stage = ? AND e.state IN ('Done', 'Failed')",
        stage,
    )
    return found


def episodes(db: Database, stage: str) -> list[sqlite3.Row]:
    """All episodes of the stage with task and verdict, in the order of tasks and trials."""
    return db.rows(
        "SELECT e.*, g.id AS group_id, g.row_key, g.domain, g.database, g.task FROM episodes e "
        "JOIN groups g ON g.number = e.group_number WHERE g.stage = ? "
        "ORDER BY g.number, e.sample",
        stage,
    )


def keep(db: Database, stage: str, domain: str, body: str) -> None:
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
