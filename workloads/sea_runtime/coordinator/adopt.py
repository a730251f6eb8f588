"""`PUT /v1/spec` takes effect: one transaction, then everybody who waits looks again."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_runtime.coordinator import trainers
from sea_runtime.coordinator.core import DESIRED, Coordinator
from sea_runtime.coordinator.errors import RefusedError
from sea_runtime.coordinator.ledger import documents, stages
from sea_runtime.coordinator.ledger.database import Database

log = logging.getLogger(__name__)


def want(core: Coordinator, desired: CoordinatorSpec) -> None:
    """Takes the operator's wish; it waits in memory while the ledger isn't open.

    Raises:
        RefusedError: it is meant for another job.
    """
    if desired.uid != core.settings.uid:
        raise RefusedError(
            f"This is the coordinator of job {core.settings.job} ({core.settings.uid}), but the "
            f"message is for {desired.job} ({desired.uid})."
        )
    if core.adopted is None or core.db is None:
        core.wanted = desired
        core.bells.runner.ring()
    else:
        adopt(core, core.db, desired)


def adopt(core: Coordinator, db: Database, desired: CoordinatorSpec) -> None:
    """Writes the wish down and acts on what changed. Attempts never go back."""
    before = core.adopted
    if before == desired:
        return
    attempt = max(desired.attempt, before.attempt if before else 0)
    merged = desired.model_copy(update={"attempt": attempt})
    with _remembered(core), db.transaction(durable=True):
        documents.put(db, DESIRED, merged)
        for stage in merged.spec.stages[: merged.stage_index]:
            stages.complete(db, stage.name, core.wall())
        core.adopted, core.drain_saved, core.head_read = merged, None, None
        trainers.on_desired(core, before, merged)
    log.info(
        "desired: stage %d, attempt %d, drain %s (%s)",
        merged.stage_index,
        attempt,
        merged.drain,
        merged.digest,
    )
    core.bells.all()


@contextmanager
def _remembered(core: Coordinator) -> Iterator[None]:
    """Memory goes back with the ledger: the wish comes again, and must not look like adopted."""
    kept = core.adopted, core.drain_saved, core.head_read
    try:
        yield
    except BaseException:
        core.adopted, core.drain_saved, core.head_read = kept
        raise
