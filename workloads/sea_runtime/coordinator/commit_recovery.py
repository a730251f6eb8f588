"""Recovers a checkpoint that was committed but never reported, while the job is drained.

Rank 0 writes `head.json` first and reports to the coordinator then; if it dies in between, the
ledger waits for a commit that has happened.
"""

import asyncio
import logging

from sea_runtime.coordinator import restore
from sea_runtime.coordinator.job import Job
from sea_runtime.coordinator.ledger import progress
from sea_runtime.coordinator.ledger.database import Ledger
from sea_runtime.coordinator.rendezvous import Rendezvous
from sea_runtime.store.s3 import ObjectStore

log = logging.getLogger(__name__)


class CommitRecovery:
    """Reads `head.json` once per drain whose processes have gone with steps uncommitted."""

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
        newest = await asyncio.to_thread(restore.newest_checkpoint, self._store, desired)
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
                restore.keep_checkpoint(db, newest, desired.attempt)
            log.warning("step %d was committed, but never reported", newest.step)
        if self._rendezvous.awaits_commit:
            log.error(
                "the trainer has ended with steps that no checkpoint has; stage '%s' goes on from "
                "step %d",
                stage.name,
                newest.step if newest is not None and newest.stage == stage.name else 0,
            )

    def _known(self, newest: restore.Checkpoint) -> int:
        row = progress.newest_checkpoint(self._ledger.db, newest.stage)
        return int(row["step"]) if row else 0
