"""The ledger of a run that goes on from a checkpoint of another run (`spec.startFrom`).

Of the other run's ledger stay the stage's groups, episodes, trajectories and batches, and its place
in the data. What belongs to its pods, attempts, checkpoints and weight versions goes: they are
another run's. Weight versions count on, since trajectories that wait for a batch carry the numbers.
"""

from sea_api.wire.state import StagePhase
from sea_runtime.coordinator.ledger.database import Database

_FIRST_VERSION = "imported-first-version"
_OF_OTHER_STAGES = ("episodes", "trajectories", "transcripts")
_OF_THE_RUN = (
    "documents",
    "checkpoints",
    "progress",
    "weights",
    "version_layouts",
    "adoptions",
    "evaluations",
)


def adopt(db: Database, stage: str, first_version: int, now: float) -> None:
    """Makes another run's ledger the beginning of this one. Inside a transaction.

    Args:
        first_version: that the stage began with there.
    """
    others = "(SELECT number FROM groups WHERE stage != ?)"
    for table in _OF_OTHER_STAGES:
        db.run(f"DELETE FROM {table} WHERE group_number IN {others}", stage)  # noqa: S608
    db.run("DELETE FROM groups WHERE stage != ?", stage)
    db.run("DELETE FROM batches WHERE stage != ?", stage)
    db.run("DELETE FROM stages WHERE name != ?", stage)
    for table in _OF_THE_RUN:
        db.run(f"DELETE FROM {table}")  # noqa: S608
    # The checkpoint may be that of the stage's end: with more steps it goes on.
    db.run(
        "UPDATE stages SET phase = ?, started = ?, finished = NULL WHERE name = ?",
        StagePhase.RUNNING,
        now,
        stage,
    )
    db.put_text(_FIRST_VERSION, str(first_version))


def first_version(db: Database) -> int:
    """What the numbers of the weight versions count on from; 0 in a run that began by itself."""
    return int(db.text(_FIRST_VERSION) or 0)
