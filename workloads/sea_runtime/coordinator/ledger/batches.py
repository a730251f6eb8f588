"""Batches in the ledger: fixed once, byte for byte the same until a checkpoint covers them."""

from sea_runtime.coordinator.ledger import groups, transcripts
from sea_runtime.coordinator.ledger.database import Database
from sea_runtime.coordinator.ledger.fixed_batch import FixedBatch
from sea_runtime.coordinator.ledger.groups import GroupState, move_group

EXPIRED = "expired-{}"
"""Text of the ledger: groups of a stage that expired since its last batch."""
_UNCOUNTED = (
    # Not those that expired: no step trains on them, and their rewards are older weights'. Those
    # without any reward too: the agent never had a turn in them.
    "stage = ? AND counted_in IS NULL AND state != 'Expired' "
    "AND (mean_reward IS NOT NULL OR state = 'Filtered')"
)
"""Groups that the next batch counts."""


def newest_step(db: Database, stage: str) -> int:
    """The last step whose batch is fixed; 0 before the first."""
    return db.value("SELECT COALESCE(MAX(step), 0) FROM batches WHERE stage = ?", stage) or 0


def newest(db: Database, stage: str) -> tuple[float, float] | None:
    """Mean reward and staleness of the newest batch, None before the first."""
    row = db.row(
        "SELECT mean_reward, staleness FROM batches WHERE stage = ? ORDER BY step DESC LIMIT 1",
        stage,
    )
    return None if row is None else (row[0], row[1])


def expire(db: Database, stage: str, version: int, max_age: int, now: float) -> int:
    """Drops groups that wait for a batch with a trajectory too old for the next; returns how many.

    Args:
        version: of the weights that the next step starts from.
        max_age: versions that a trajectory may be older.
    """
    old = db.rows(
        "SELECT g.number, MIN(e.mean_version) AS oldest FROM groups g "
        "JOIN episodes e ON e.group_number = g.number "
        "WHERE g.stage = ? AND g.state = 'Admitted' GROUP BY g.number "
        "HAVING MIN(e.mean_version) < ?",
        stage,
        version - max_age,
    )
    # The trainer asks again and again while it waits for a batch: mostly there are none.
    if not old:
        return 0
    with db.transaction():
        for row in old:
            age = version - row["oldest"]
            reason = f"A trajectory was {age:.1f} versions old."
            groups.end(db, row["number"], GroupState.EXPIRED, now, reason)
        db.put_text(EXPIRED.format(stage), str(_expired(db, stage) + len(old)))
    return len(old)


def assign(
    db: Database,
    stage: str,
    step: int,
    size: int,
    version: int,
    now: float,
    *,
    saved: float = 1.0,
) -> bool:
    """Fixes the batch of `step` from the `size` oldest admitted groups; False if there are fewer.

    Args:
        version: of the weights that the step starts from; staleness counts from it.
        saved: share of the groups whose dialogues are kept for the run's folder.
    """
    # Durable before the trainer sees it: a step that is repeated after a power failure
    # must get the same groups.
    with db.transaction(durable=True):
        numbers = [
            row["number"]
            for row in db.rows(
                "SELECT number FROM groups WHERE stage = ? AND state = 'Admitted' "
                "ORDER BY number LIMIT ?",
                stage,
                size,
            )
        ]
        # Nothing has changed yet: this commits an empty transaction.
        if len(numbers) < size:
            return False
        for number in numbers:
            move_group(db, number, GroupState.ASSIGNED)
            db.run("UPDATE groups SET step = ? WHERE number = ?", step, number)
        _write_row(db, stage, step, version, now)
        # After it: it says which dropped groups are counted in this step.
        transcripts.thin(db, numbers, saved)
        transcripts.thin_dropped(db, stage, step, saved)
    return True


def _write_row(db: Database, stage: str, step: int, version: int, now: float) -> None:
    # Before `counted_in` is set, which is what it looks for.
    mean, dropped = _since_last_batch(db, stage, step)
    behind = db.value(
        "SELECT AVG(? - e.mean_version) FROM episodes e JOIN groups g ON g.number = e.group_number "
        "WHERE g.stage = ? AND g.step = ? AND e.mean_version IS NOT NULL",
        version,
        stage,
        step,
    )
    db.run(f"UPDATE groups SET counted_in = ? WHERE {_UNCOUNTED}", step, stage)  # noqa: S608
    # Negative after a restart: an engine may serve a version that the trainer has to publish again.
    staleness = max(0.0, behind or 0.0)
    db.run(
        "INSERT INTO batches "
        "(stage, step, dropped_groups, mean_reward, staleness, time, expired_groups) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        stage,
        step,
        dropped,
        mean,
        staleness,
        now,
        _expired(db, stage),
    )
    db.delete_text(EXPIRED.format(stage))


def _expired(db: Database, stage: str) -> int:
    """Groups that were too old since the last batch."""
    return int(db.text(EXPIRED.format(stage)) or 0)


def _since_last_batch(db: Database, stage: str, step: int) -> tuple[float, int]:
    """Mean reward of the groups finished since the last batch, and how many of them were dropped.

    If none has finished since (they waited for their turn), the mean of the batch itself.
    """
    mean, dropped = db.rows(
        "SELECT AVG(mean_reward), COALESCE(SUM(state = 'Filtered'), 0) "  # noqa: S608
        f"FROM groups WHERE {_UNCOUNTED}",
        stage,
    )[0]
    if mean is None:
        own = "SELECT AVG(mean_reward) FROM groups WHERE stage = ? AND step = ?"
        mean = db.value(own, stage, step)
    return mean, dropped


def fixed(db: Database, stage: str, step: int) -> FixedBatch:
    """A batch that was assigned.

    Raises:
        GoneError: a checkpoint covers the step, its trajectories are pruned.
    """
    batch = db.row("SELECT * FROM batches WHERE stage = ? AND step = ?", stage, step)
    assert batch is not None
    members = db.rows(
        "SELECT number, id, state FROM groups WHERE stage = ? AND step = ? ORDER BY number",
        stage,
        step,
    )
    found = FixedBatch(
        stage,
        step,
        [(row["number"], row["id"]) for row in members],
        batch["dropped_groups"],
        batch["mean_reward"],
        _never_asked(db, stage, step),
        db.path,
        batch["expired_groups"],
    )
    # `cover` moves all groups of a step in one transaction: one covered means all are.
    if any(row["state"] == GroupState.COVERED for row in members):
        raise found.gone()
    return found


def _never_asked(db: Database, stage: str, step: int) -> int:
    """Episodes, of the groups that the step's batch counted, in which the agent had no turn."""
    found: int = db.value(
        "SELECT COUNT(*) FROM groups g CROSS JOIN episodes e ON e.group_number = g.number "
        "WHERE g.stage = ? AND g.counted_in = ? AND e.state = 'Failed' AND e.stop IS NOT NULL",
        stage,
        step,
    )
    return found


def cover(db: Database, stage: str, step: int) -> int:
    """Marks all groups of steps up to `step` as covered and prunes them; returns how many."""
    numbers = [
        row["number"]
        for row in db.rows(
            # `<=`: commits may skip steps, and one that was never reported is covered by the next.
            # `+`: by state, of which there are few, not by step.
            "SELECT number FROM groups WHERE stage = ? AND state = 'Assigned' AND +step <= ?",
            stage,
            step,
        )
    ]
    for number in numbers:
        move_group(db, number, GroupState.COVERED)
        groups.prune(db, number)
    return len(numbers)
