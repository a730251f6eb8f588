"""Where the line that the ledger is of comes from, and what it has left behind.

A request to go back (`spec.checkpoint.rollbackTo`) is looked at, then carried out by a new attempt,
and kept here as done, so that it happens once. Engines whose weights come after the checkpoint
serve what was never trained in the line that goes on: they get no episodes and restart. The same
holds once a lost volume was restored from a checkpoint, since the batches after it are drawn again.

A run may also go on from a checkpoint of another run (`spec.startFrom`): of that one's ledger stay
the stage's groups, episodes, trajectories and batches, and its place in the data. What belongs to
its pods, attempts, checkpoints and weight versions goes: they are another run's. Weight versions
count on, since trajectories that wait for a batch carry the numbers.
"""

from collections.abc import Mapping

from pydantic import BaseModel

from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_api.wire.state import RollbackCheck, StagePhase
from sea_runtime.coordinator.ledger.database import Database
from sea_runtime.wire.checkpoints import Entry
from sea_runtime.wire.membership import Heartbeat

_DONE, _CHECK, _BRANCHES = "rollback-done", "rollback-check", "branches"
_RESTORED = "restored-in"
"""Text: the attempt in which the ledger was restored, if its processes had begun; else 0."""
_FIRST_VERSION = "imported-first-version"
_ORIGIN = "imported-checkpoint"
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


def done(db: Database) -> int:
    """Generation of the newest request that was carried out; 0 if none was."""
    return int(db.text(_DONE) or 0)


def keep_done(db: Database, generation: int) -> None:
    """A request was carried out: the head of its stage says so."""
    db.put_text(_DONE, str(generation))


def keep_check(db: Database, check: RollbackCheck) -> None:
    """Keeps what a look at the checkpoint has found; writes nothing that is known."""
    if db.document(_CHECK, RollbackCheck) != check:
        db.put_document(_CHECK, check)


def check_of(db: Database, desired: CoordinatorSpec) -> RollbackCheck | None:
    """How far the desired request is; None without one, and until it was looked at."""
    order = desired.rollback
    if order is None:
        return None
    if done(db) >= order.generation:
        return RollbackCheck(generation=order.generation, done=True)
    found = db.document(_CHECK, RollbackCheck)
    return found if found is not None and found.generation == order.generation else None


def awaited(db: Database, desired: CoordinatorSpec) -> bool:
    """True if the current attempt begins by going back: no process of it may start before."""
    order = desired.rollback
    if order is None or order.attempt is None or desired.attempt < order.attempt:
        return False
    found = check_of(db, desired)
    return found is None or not (found.done or found.problem)


class _Branch(BaseModel):
    """Where training went back, or the ledger was restored: what attempts before `attempt`
    published after `version` was left behind."""

    stream: str
    version: int
    attempt: int


class _Branches(BaseModel):
    found: list[_Branch] = []


def leave_behind(db: Database, stream: str, version: int, attempt: int) -> None:
    """Training has gone back to `version`, and `attempt` is the first that goes on from there."""
    known = db.document(_BRANCHES, _Branches) or _Branches()
    # One that went back further covers all that those before it left behind.
    kept = [one for one in known.found if one.stream != stream or one.version < version]
    branch = _Branch(stream=stream, version=version, attempt=attempt)
    db.put_document(_BRANCHES, _Branches(found=[*kept, branch]))


def restored(db: Database, line: Mapping[str, int], attempt: int, *, ran: bool) -> None:
    """The ledger is a checkpoint's: the batches after it, and so the versions, come again.

    Args:
        line: newest version of the checkpoint by stream.
        attempt: the current one. It is judged when it ends (`begin_attempt`): its processes may be
            at the checkpoint and go on from there, or ahead of the ledger and have to end.
        ran: they had begun before.
    """
    # Before the first attempt nothing was published: a new run leaves nothing behind.
    for stream, version in line.items() if attempt > 1 else ():
        leave_behind(db, stream, version, attempt)
    db.put_text(_RESTORED, str(attempt if ran else 0))


def ran_before(db: Database, attempt: int) -> bool:
    """Whether processes of this attempt had begun when the ledger was restored.

    If they are started again, the attempt would publish other weights under numbers that it has
    published before.
    """
    return db.text(_RESTORED) == str(attempt)


def begin_attempt(db: Database, stream: str, version: int, attempt: int) -> None:
    """Another attempt begins: one that was ahead of a restored ledger has left its versions.

    Args:
        version: that follows from the newest batch of the ledger. Attempts before this one that
            published later ones trained on batches that are lost.
    """
    if db.text(_RESTORED) is not None:
        leave_behind(db, stream, version, attempt)
        db.delete_text(_RESTORED)


def is_left_behind(db: Database, stream: str, beat: Heartbeat) -> bool:
    """Whether the engine serves a version that isn't part of the line that goes on.

    Judged by what it serves now: it may have adopted the version after training had gone back, if
    it was fetching it meanwhile.
    """
    if not beat.adopted:
        return False
    known = db.document(_BRANCHES, _Branches) or _Branches()
    return any(
        beat.adopted > one.version and beat.adopted_attempt < one.attempt
        for one in known.found
        if one.stream == stream
    )


def adopt(db: Database, stage: str, first_version: int, entry: Entry) -> None:
    """Makes another run's ledger the beginning of this one. Inside a transaction.

    Args:
        first_version: that the stage began with there.
        entry: the other run's checkpoint that has this ledger.
    """
    others = "(SELECT number FROM groups WHERE stage != ?)"
    for table in _OF_OTHER_STAGES:
        db.run(f"DELETE FROM {table} WHERE group_number IN {others}", stage)  # noqa: S608
    db.run("DELETE FROM groups WHERE stage != ?", stage)
    db.run("DELETE FROM batches WHERE stage != ?", stage)
    db.run("DELETE FROM stages WHERE name != ?", stage)
    for table in _OF_THE_RUN:
        db.run(f"DELETE FROM {table}")  # noqa: S608
    # Not yet running, whatever it was there: this run's data and models are unchecked, and a stage
    # that runs has its base model (`Preconditions.model`).
    db.run(
        "UPDATE stages SET phase = ?, started = NULL, finished = NULL WHERE name = ?",
        StagePhase.PENDING,
        stage,
    )
    db.put_text(_FIRST_VERSION, str(first_version))
    db.put_document(_ORIGIN, entry)


def first_version(db: Database) -> int:
    """What the numbers of the weight versions count on from; 0 in a run that began by itself."""
    return int(db.text(_FIRST_VERSION) or 0)


def origin(db: Database) -> Entry | None:
    """The other run's checkpoint that this ledger began with; None in a run that began by itself.

    Also None in a ledger of an older release.
    """
    return db.document(_ORIGIN, Entry)
