"""Requests to go back to an older checkpoint, and the engines that such a step leaves behind.

A request (`spec.checkpoint.rollbackTo`) is looked at, then carried out by a new attempt, and kept
here as done, so that it happens once. Engines whose weights come after the checkpoint serve what
was never trained in the line that goes on: they get no episodes and restart.
"""

from collections.abc import Sequence

from pydantic import BaseModel

from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_api.wire.state import RollbackCheck
from sea_runtime.coordinator.ledger.database import Database
from sea_runtime.wire.membership import Heartbeat

_DONE, _CHECK, _ABANDONED = "rollback-done", "rollback-check", "abandoned-engines"


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


class _Abandoned(BaseModel):
    version: int
    """The newest version of the line that goes on."""
    pods: dict[str, str]
    """Incarnations of the workers whose engines serve a later one."""
    judged: list[str] = []
    """Pods that were known then, or have called since. Any other, as one that was silent for a
    moment, is judged by what it serves when it first calls: a new one serves nothing yet."""


def abandon(db: Database, beats: Sequence[Heartbeat], version: int) -> None:
    """Training has gone back to `version`: engines that serve a later one are left behind."""
    pods = {beat.pod: beat.incarnation for beat in beats if (beat.adopted or 0) > version}
    judged = [beat.pod for beat in beats]
    db.put_document(_ABANDONED, _Abandoned(version=version, pods=pods, judged=judged))


def is_abandoned(db: Database, pod: str) -> bool:
    found = db.document(_ABANDONED, _Abandoned)
    return found is not None and pod in found.pods


def heard(db: Database, beat: Heartbeat) -> bool:
    """Whether the engine that reports is to restart; forgets one that has."""
    found = db.document(_ABANDONED, _Abandoned)
    if found is None:
        return False
    after = _after(found, beat)
    if after != found:
        db.put_document(_ABANDONED, after)
    return beat.pod in after.pods


def _after(found: _Abandoned, beat: Heartbeat) -> _Abandoned:
    later = beat.adopted is not None and beat.adopted > found.version
    pods = dict(found.pods)
    if beat.pod not in found.judged:
        if later:
            pods[beat.pod] = beat.incarnation
        return found.model_copy(update={"pods": pods, "judged": [*found.judged, beat.pod]})
    # It reports that it serves nothing as soon as it has ended, or the line's version, once it has
    # loaded that.
    if not later or pods.get(beat.pod) != beat.incarnation:
        pods.pop(beat.pod, None)
    return found.model_copy(update={"pods": pods})
