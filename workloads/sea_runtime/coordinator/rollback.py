"""Going back to an older checkpoint because `spec.checkpoint.rollbackTo` asks for it.

The operator names the checkpoint; this looks whether it is sound while training goes on. If it is,
the operator begins another attempt, whose processes wait (`Rendezvous`) until the stage's head
names the checkpoint as its newest and the ledger is restored from its snapshot: weights, optimizer,
ledger and place in the data go back together. The head records the request in the same
compare-and-set, so it is carried out once, whichever of coordinator, volume and operator is lost.
"""

import asyncio
import logging
from collections.abc import Callable

from sea_api.wire.coordinator_spec import CoordinatorSpec, RollbackOrder
from sea_api.wire.state import RollbackCheck
from sea_data.object_store import PreconditionFailedError, StoreError
from sea_runtime.coordinator import stored_checkpoints
from sea_runtime.coordinator.background import Notifiers
from sea_runtime.coordinator.bootstrap import Bootstrap
from sea_runtime.coordinator.job import Job
from sea_runtime.coordinator.ledger import lineage
from sea_runtime.coordinator.ledger.database import Ledger
from sea_runtime.coordinator.rendezvous import WORLD
from sea_runtime.coordinator.trainer_world import WorldRecord
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.wire.checkpoints import (
    Entry,
    Head,
    RollbackRecord,
    entry_of,
    gone_back,
    missing_text,
)

log = logging.getLogger(__name__)

LOOK_SECONDS = 10.0
"""Between two looks at a checkpoint that was refused: its objects may be put back."""


class Rollbacks:
    """Looks at the desired request, and carries it out once its attempt has begun.

    Args:
        wall: unix seconds.
    """

    def __init__(
        self,
        job: Job,
        ledger: Ledger,
        store: ObjectStore,
        bootstrap: Bootstrap,
        notifiers: Notifiers,
        wall: Callable[[], float],
    ) -> None:
        self._job, self._ledger, self._store = job, ledger, store
        self._bootstrap, self._notifiers, self._wall = bootstrap, notifiers, wall

    async def look(self) -> None:
        """One pass."""
        desired = self._job.known
        if desired is not None and desired.rollback is not None:
            await self.follow(desired, desired.rollback)
        await self._notifiers.background.wait(LOOK_SECONDS)

    async def follow(self, desired: CoordinatorSpec, order: RollbackOrder) -> None:
        """Looks at the checkpoint; goes back to it if the attempt for that has begun.

        Raises:
            StoreError: the object store can't be read or written; the caller tries again.
        """
        before = self._ledger.db
        if lineage.done(before) >= order.generation:
            return
        problem = self._not_running(order) or await asyncio.to_thread(
            find_problem, self._store, desired, order
        )
        # Another spec, or another ledger, may have come during the reads.
        if not self._ledger.available or self._ledger.db is not before:
            return
        if self._job.desired.rollback != order:
            return
        # Refused a moment ago, so that its attempt trains already, from the newest checkpoint: what
        # it commits would follow the older one. The refusal stands until the operator has heard.
        if self._has_begun(order):
            return
        check = RollbackCheck(generation=order.generation, problem=problem)
        lineage.keep_check(before, check)
        if problem or not lineage.awaited(before, self._job.desired):
            return
        attempt = self._job.attempt
        await asyncio.to_thread(self._write_head, desired, order, attempt)
        if self._ledger.available and self._ledger.db is before:
            log.warning("stage '%s' goes back to step %d", order.stage, order.step)
            self._bootstrap.restore_again()

    def _has_begun(self, order: RollbackOrder) -> bool:
        """Whether processes of the attempt that was to go back, or of a later one, may run."""
        if order.attempt is None or self._job.attempt < order.attempt:
            return False
        world = self._ledger.db.document(WORLD, WorldRecord)
        return world is not None and world.world.attempt == self._job.attempt

    def _not_running(self, order: RollbackOrder) -> str:
        stage = self._job.running_stage
        if stage is not None and stage.name == order.stage:
            return ""
        return (
            f"Stage {order.stage} doesn't run now, and only the stage that runs can go back: "
            "remove checkpoint.rollbackTo, or it is carried out as soon as that stage runs and has "
            "the checkpoint. A stage that has ended stays as it is; another job can go on from its "
            "checkpoints (startFrom)."
        )

    def _write_head(self, desired: CoordinatorSpec, order: RollbackOrder, attempt: int) -> None:
        """Makes the checkpoint the newest, and deletes the later ones. Blocking."""
        url = stored_checkpoints.head_url(desired.run_url, order.stage)
        while True:
            body, etag = self._store.get_with_etag(url)
            before = Head.model_validate_json(body)
            after, later = carried_out(before, order, attempt, self._wall())
            if after == before:
                return
            try:
                # From here on no older attempt can commit what it trains.
                self._store.put_if(url, after.model_dump_json().encode(), etag)
            except PreconditionFailedError:
                continue
            break
        for entry in later:
            self._delete(desired, entry, after)

    def _delete(self, desired: CoordinatorSpec, entry: Entry, head: Head) -> None:
        folder = (
            stored_checkpoints.url(desired.run_url, entry.manifest_key).rpartition("/")[0] + "/"
        )
        named = (
            stored_checkpoints.url(desired.run_url, one.manifest_key) for one in head.checkpoints
        )
        if entry.pinned or any(one.startswith(folder) for one in named):
            return
        try:
            for item in self._store.list(folder):
                self._store.delete(item.url)
        except StoreError as error:  # going back itself is done
            log.warning("Objects of step %d are kept in the store: %s", entry.step, error)


def carried_out(
    head: Head, order: RollbackOrder, attempt: int, now: float
) -> tuple[Head, list[Entry]]:
    """The head after a request, and the entries that it no longer names. Pure.

    Unchanged if the request was carried out before.

    Raises:
        KeyError: the checkpoint isn't named any more.
    """
    if head.rollback is not None and head.rollback.generation >= order.generation:
        return head, []
    newest = head.newest
    after, later = gone_back(head, order.step)
    record = RollbackRecord(
        generation=order.generation,
        step=order.step,
        from_step=newest.step if newest else order.step,
        time=now,
    )
    update = {"attempt": max(head.attempt, attempt), "rollback": record}
    return after.model_copy(update=update), later


def find_problem(store: ObjectStore, desired: CoordinatorSpec, order: RollbackOrder) -> str:
    """Why a checkpoint can't be gone back to, as a sentence; empty if it can. Blocking.

    Looks at the size of every object, and at the bytes of manifest and ledger. Those of the states,
    terabytes of a large model, are checked by the ranks that load them.
    """
    head = stored_checkpoints.read_head(store, desired.run_url, order.stage)
    if head.rollback is not None and head.rollback.generation >= order.generation:
        return ""
    try:
        entry = entry_of(head, order.step)
    except KeyError:
        return (
            f"{missing_text(head, order.stage, order.step)}. Name another step in "
            "checkpoint.rollbackTo.step."
        )
    wrong = next(stored_checkpoints.faults(store, desired.run_url, entry), "")
    if not wrong:
        return ""
    return (
        f"The checkpoint of stage {order.stage} step {order.step} is damaged: {wrong} Training "
        "goes on as it is. Restore the object, or name another one in checkpoint.rollbackTo."
    )
