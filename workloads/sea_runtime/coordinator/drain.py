"""Suspend: once training has stopped, the ledger itself is copied to the object store.

A checkpoint's snapshot is as old as the checkpoint; this one also has the groups admitted since
and the verdicts of a half-done evaluation, so that a resumed job repeats nothing.
"""

import asyncio
import json
import logging

from sea_data import urls
from sea_runtime.coordinator import snapshot
from sea_runtime.coordinator.job import Job
from sea_runtime.coordinator.ledger import progress
from sea_runtime.coordinator.ledger.database import Ledger
from sea_runtime.coordinator.ledger.trajectories import Files
from sea_runtime.coordinator.rendezvous import Rendezvous
from sea_runtime.coordinator.run_folder import RunFolder
from sea_runtime.store.s3 import ObjectStore

log = logging.getLogger(__name__)


class Drain:
    """Saves the ledger once per drain; only then the job counts as drained."""

    def __init__(
        self,
        job: Job,
        ledger: Ledger,
        files: Files,
        store: ObjectStore,
        rendezvous: Rendezvous,
        folder: RunFolder,
    ) -> None:
        self._job, self._ledger, self._files, self._store = job, ledger, files, store
        self._rendezvous, self._folder = rendezvous, folder
        self._saved_for: str | None = None
        """Digest of the drain whose ledger is stored."""

    @property
    def complete(self) -> bool:
        """Whether pods may go: training has stopped, everything is committed and stored."""
        return self._rendezvous.drained and self._saved_for == self._job.desired.digest

    def forget(self) -> None:
        """Another spec is in force: the next drain saves again, even one of the same digest."""
        self._saved_for = None

    async def save(self) -> None:
        """Stores the ledger if the drain is done and that hasn't happened yet."""
        # The spec may change during the awaits: the result counts for the digest it began with.
        desired = self._job.desired
        if self._saved_for == desired.digest or not self._rendezvous.drained:
            return
        # First: what it writes leaves the ledger that is stored below.
        await self._folder.flush()
        # Asked for again: the ledger may have been withdrawn meanwhile.
        db = self._ledger.db
        root = urls.join(desired.run_url, snapshot.FOLDER)
        newest = progress.newest_checkpoint(db)
        checkpoint = None if newest is None else [newest["stage"], newest["step"]]
        # Names the checkpoint that was the newest: after a later commit the
        # ledger is outdated (`snapshot.applies`).
        manifest = None if newest is None else newest["manifest_key"]
        note = {
            "checkpoint": checkpoint,
            "manifest": manifest,
            "stageIndex": desired.stage_index,
            # A later attempt means that the job runs again.
            "attempt": desired.attempt,
        }
        url = urls.join(root, snapshot.FILE)
        taken = await asyncio.to_thread(snapshot.upload, db.path, self._files, self._store, url)
        # The note last: it says that the ledger next to it is whole.
        body = json.dumps({**note, "ledger": taken.model_dump()}).encode()
        await asyncio.to_thread(self._store.put, urls.join(root, snapshot.NOTE), body)
        # A resume during the upload must not count as drained. The objects do no harm: the note's
        # checkpoint stops matching with the next commit.
        if self._job.desired.digest == desired.digest:
            self._saved_for = desired.digest
            log.info("drained: the ledger (%d bytes) is stored at %s", taken.size, url)


class CommitRecovery:
    """Recovers a checkpoint that was committed but never reported, while the job is drained.

    Rank 0 writes `head.json` first and reports to the coordinator then; if it dies in between, the
    ledger waits for a commit that has happened. Read once per drain whose processes have gone with
    steps uncommitted.
    """

    def __init__(
        self, job: Job, ledger: Ledger, store: ObjectStore, rendezvous: Rendezvous
    ) -> None:
        self._job, self._ledger, self._store = job, ledger, store
        self._rendezvous = rendezvous
        self._read_for: str | None = None
        """Digest of the drain that `head.json` was read for."""

    def forget(self) -> None:
        """Another spec is in force: the next drain reads again."""
        self._read_for = None

    async def look(self) -> None:
        """Writes a commit that was never reported into the ledger.

        Raises:
            StoreError: the object store can't be read; the caller tries again.
        """
        # Taken before the `await`, compared after it.
        desired, stage = self._job.desired, self._job.running_stage
        if self._read_for == desired.digest or not self._rendezvous.awaits_commit:
            return
        newest = await asyncio.to_thread(snapshot.newest_checkpoint, self._store, desired)
        # The operator may have changed its mind during the read.
        if self._job.desired.digest != desired.digest or stage is None:
            return
        # After the read: one that failed is repeated.
        self._read_for = desired.digest
        if newest is not None and newest.stage == stage.name and newest.step > self._known(newest):
            db = self._ledger.db
            with db.transaction(durable=True):
                # If this commit has all reported steps, the drain is complete now; otherwise the
                # operator's time-out ends it.
                snapshot.keep_checkpoint(db, newest, desired.attempt)
            log.warning("step %d was committed, but never reported", newest.step)
        if self._rendezvous.awaits_commit:
            log.error(
                "the trainer has ended with steps that no checkpoint has; stage '%s' goes on from "
                "step %d",
                stage.name,
                newest.step if newest is not None and newest.stage == stage.name else 0,
            )

    def _known(self, newest: snapshot.Checkpoint) -> int:
        row = progress.newest_checkpoint(self._ledger.db, newest.stage)
        return int(row["step"]) if row else 0
