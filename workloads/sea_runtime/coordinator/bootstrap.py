"""How the coordinator gets its ledger: its own after a kill, a checkpoint's on an empty volume."""

import asyncio
import logging
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from sea_api.v1alpha1.stages import StageType
from sea_api.v1alpha1.status import Rollback
from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_runtime.coordinator import evaluation, snapshot, stage_plan, weight_manifests
from sea_runtime.coordinator import origin as origins
from sea_runtime.coordinator.background import Notifiers
from sea_runtime.coordinator.errors import LedgerError
from sea_runtime.coordinator.job import Job, first_version
from sea_runtime.coordinator.ledger import batches, lineage, progress, registry
from sea_runtime.coordinator.ledger.database import Database, Ledger
from sea_runtime.store.s3 import ObjectStore

log = logging.getLogger(__name__)

ROLLBACK = "rollback"
LOOK_SECONDS = 60.0
PART = ".part"
"""Suffix of a ledger that is downloaded."""


def timestamp(seconds: float) -> str:
    """Unix seconds as the API writes them."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Bootstrap:
    """Installs a complete ledger, and restores it again if a checkpoint overtakes it.

    Args:
        file: the ledger on the pod's volume.
        wall: unix seconds.
    """

    def __init__(
        self,
        job: Job,
        ledger: Ledger,
        file: Path,
        store: ObjectStore,
        notifiers: Notifiers,
        wall: Callable[[], float],
    ) -> None:
        self._job, self._ledger, self._file, self._store = job, ledger, file, store
        self._notifiers, self._wall = notifiers, wall
        self._other_run = origins.OtherRun(store, wall)
        self._restored_from = ""
        """Manifest key of the checkpoint that the ledger was restored from; empty if from none."""
        self._rollback: Rollback | None = None
        """Written into the ledger that is restored for it."""

    async def look(self) -> None:
        """Opens the volume's ledger, or the newest checkpoint's if the volume is empty."""
        await self.open()
        await self._notifiers.background.wait(LOOK_SECONDS)

    async def open(self) -> None:
        """Does nothing if a ledger is installed, or if an empty volume has no spec yet."""
        if self._ledger.available:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        # Copies that a kill left behind would fill the volume.
        for leftover in self._file.parent.glob("snapshot-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        snapshot.remove(self._file.with_suffix(PART))
        db = Database(self._file)
        pending = self._job.pending
        # Also true after a kill during a restore: it starts over, the mark
        # is written with the spec.
        if not snapshot.is_initialised(db):
            if pending is None:
                # Which checkpoint is the newest depends on the spec's run: wait for it.
                db.close()
                return
            # A spec that arrives during the restore replaces `pending`; `load` adopts it.
            db = await self._restored(db, pending)
        # Installed only when complete: until then every call is answered with 503 and comes again.
        self._ledger.install(db)
        self._job.load()

    async def catch_up(self, stage: str, fixed: int) -> bool:
        """Restores again if a checkpoint was committed while the ledger was being restored.

        A trainer that outlived the volume keeps committing; the ledger may then know fewer
        batches (`fixed`) than the newest checkpoint contains.

        Returns:
            False if no checkpoint is newer: the trainer itself has to go back.
        """
        before = self._ledger.db
        newest = await asyncio.to_thread(snapshot.newest_checkpoint, self._store, self._job.desired)
        # Other requests are served during the read: the same one, repeated, may have found the
        # newer checkpoint first. `fixed` is then the old ledger's, and the restored one answers.
        if not self._ledger.available or self._ledger.db is not before:
            return True
        if newest is None or newest.stage != stage or newest.step <= fixed:
            return False
        # If the restore from this very checkpoint has not helped, another one doesn't either: the
        # trainer goes back instead. By its key, since a stage that begins from scratch comes to the
        # same step again.
        if self._restored_from == newest.entry.manifest_key:
            return False
        log.warning("the checkpoint of step %d is newer than the ledger", newest.step)
        self.restore_again()
        return True

    async def go_back(self, stage: str, step: int) -> bool:
        """Restores from the newest checkpoint if the trainer went back to it, behind the ledger.

        Checkpoints after it were damaged or rolled back: `head.json` doesn't name them any more. Or
        a person has deleted it, to begin the stage from scratch.

        Args:
            step: that the trainer asks for; the ledger has it covered.

        Returns:
            False if the head doesn't say so, or if this attempt has published later versions: it
            began again, as after a drain that was taken back.
        """
        before, attempt = self._ledger.db, self._job.attempt
        newest, opened = await asyncio.to_thread(self._heads, self._job.desired)
        # As above: the same request, repeated, may have sent the ledger back already.
        if not self._ledger.available or self._ledger.db is not before:
            return True
        went = newest.step if newest is not None and newest.stage == stage else 0
        if step != went + 1:
            return False
        # Without any checkpoint the whole ledger goes: only if the trainer has seen the same.
        if newest is None and opened != attempt:
            return False
        # It would publish numbers again that engines serve already, with other weights, and they
        # would wait for it: its processes end, and the next attempt goes back.
        stream = stage_plan.stream_of(self._job.stage_named(stage))
        published = registry.newest_of_attempt(before, stream, attempt)
        if published > self._job.first_version() + went:
            return False
        known = progress.last_committed(before, stage)
        log.warning("training of '%s' went back from step %d to %d", stage, known, went)
        self._rollback = Rollback(
            stage=stage, step=went, from_step=known, time=timestamp(self._wall())
        )
        self.restore_again()
        return True

    def _heads(self, desired: CoordinatorSpec) -> tuple[snapshot.Checkpoint | None, int]:
        """The newest checkpoint, and the attempt that has opened the current stage. Blocking."""
        newest = snapshot.newest_checkpoint(self._store, desired)
        return newest, snapshot.opened(self._store, desired)

    def restore_again(self) -> None:
        """Replaces the ledger by that of the newest checkpoint that the heads name."""
        # First: a kill from here on must lead to a restore, not to this ledger.
        snapshot.disown(self._ledger.db)
        # The spec in force becomes the one to restore with.
        self._job.hold()
        self._ledger.withdraw()
        self._notifiers.background.notify()

    async def _restored(self, empty: Database, desired: CoordinatorSpec) -> Database:
        db = empty
        try:
            part = self._file.with_suffix(PART)
            # Everything is read before the transaction, which must not contain an `await`.
            source, checkpoint = await asyncio.to_thread(snapshot.fetch, self._store, desired, part)
            origin = None if source else await asyncio.to_thread(self._origin, desired, part)
            stored = await asyncio.to_thread(
                weight_manifests.read_stored, self._store, desired.run_url
            )
            results = await asyncio.to_thread(evaluation.read_results, self._store, desired)
            opened = await asyncio.to_thread(snapshot.opened, self._store, desired)
            source = source or (origin.source if origin else "")
            if source:
                log.warning("the ledger is restored from %s", source)
                # In a thread: it reads and rewrites the whole file, up to gigabytes.
                await asyncio.to_thread(_require_sound, part, source)
                # Before the file is replaced: closing writes the log back and removes it.
                empty.close()
                db = snapshot.replace(self._file, part)
            else:
                # It may hold what a person has had the stage begin from scratch without.
                empty.close()
                snapshot.remove(self._file)
                db = Database(self._file)
            with db.transaction(durable=True):
                if origin:
                    self._other_run.adopt(db, desired, origin)
                for stage, found in results.items():
                    evaluation.keep(db, stage, found)
                merged = self._job.write(db, desired)
                # In the transaction of the spec: a ledger that is ours always has one.
                snapshot.begin(db)
                if checkpoint is not None:
                    snapshot.keep_checkpoint(db, checkpoint, merged.attempt)
                self._keep_rollback(db, merged, checkpoint)
                # Last: how far earlier stages came is known from their checkpoints.
                line = line_of(db, merged, checkpoint, origin)
                for stream, version in line.items():
                    registry.forget_later(db, stream, version)
                lineage.restored(db, line, merged.attempt, ran=opened == merged.attempt)
                for anchor in snapshot.of_this_line(stored.versions, line):
                    registry.add_anchor(db, anchor, self._wall())
                for digest, text in stored.layouts.items():
                    registry.add_layout(db, digest, text)
        # Also on cancellation: the next attempt opens the same file.
        except BaseException:
            db.close()
            raise
        self._restored_from = checkpoint.entry.manifest_key if checkpoint else ""
        return db

    def _origin(self, desired: CoordinatorSpec, part: Path) -> origins.OriginLedger | None:
        """The ledger of the other run's checkpoint that this one goes on from. Blocking."""
        other = stage_plan.origin(desired)
        return None if other is None else self._other_run.fetch(desired, other, part)

    def _keep_rollback(
        self, db: Database, desired: CoordinatorSpec, checkpoint: snapshot.Checkpoint | None
    ) -> None:
        """Writes down why the ledger went back."""
        went, record = self._rollback, checkpoint.rollback if checkpoint else None
        # Read from the head, not from memory: a kill between the two must not repeat the request.
        if checkpoint and record is not None and record.generation > lineage.done(db):
            lineage.keep_done(db, record.generation)
            went = Rollback(
                stage=checkpoint.stage,
                step=record.step,
                from_step=record.from_step,
                time=timestamp(record.time),
            )
        if went is None:
            return
        db.put_document(ROLLBACK, went)
        self._rollback = None

    def write_spec(
        self, db: Database, before: CoordinatorSpec | None, now: CoordinatorSpec
    ) -> None:
        """A new attempt goes on from the ledger's newest batch, whatever one before it has done."""
        if before is None or before.attempt == now.attempt:
            return
        stage = stage_plan.training_stage(now)
        # A supervised stage publishes one version, at its end, which comes again as it was.
        if stage is not None and stage.type is StageType.RL:
            version = first_version(db, now) + batches.newest_step(db, stage.name)
            lineage.begin_attempt(db, stage_plan.stream_of(stage), version, now.attempt)


def line_of(
    db: Database,
    desired: CoordinatorSpec,
    checkpoint: snapshot.Checkpoint | None,
    origin: origins.OriginLedger | None,
) -> dict[str, int]:
    """The newest version, by stream, of what the restored ledger goes on from."""
    # Also of a stream that the current stage doesn't train, or has no checkpoint of.
    line = {name: first_version(db, desired, name) for name in stage_plan.STREAMS}
    stage = stage_plan.training_stage(desired)
    if stage is not None and checkpoint is not None and checkpoint.stage == stage.name:
        entry, stream = checkpoint.entry, stage_plan.stream_of(stage)
        known = entry.version if entry.parted is None else entry.parted
        line[stream] = max(known, line[stream])
    elif stage is not None and origin is not None:
        line[stage_plan.stream_of(stage)] = origin.version
    return line


def _require_sound(part: Path, source: str) -> None:
    """Raises LedgerError if what was downloaded from `source` can't be a ledger."""
    try:
        snapshot.require_sound(part)
    except LedgerError as error:
        raise LedgerError(f"{source} can't be the ledger. {error}") from error
