"""What the run's folder gets while the run goes on: metrics, dialogues of each step, the record.

    reports/metrics.jsonl                          one line per optimizer step
    rollouts/<stage>/step-000012.episodes.jsonl    the dialogues of a step's batch
    rollouts/<stage>/step-000012-dropped.episodes.jsonl   of groups that were dropped before it
    evaluation/<stage>.episodes.jsonl              of the evaluation that runs, as far as it is
    run.json                                       spec, software and attempts (`run_record`)

The ledger says what is missing, and each object is written whole: a kill costs a repetition, and a
step is in a file once, however many attempts trained it. Nothing waits for these objects but the
end of a stage: a store that is slow or away delays them, never a step.
"""

import asyncio
import json
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from sea_api.contract import role_label
from sea_api.v1alpha1.policy import Role
from sea_api.v1alpha1.stages import StageType
from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_api.wire.state import StagePhase
from sea_data import urls
from sea_data.object_store import ObjectNotFoundError, StoreError
from sea_runtime import software
from sea_runtime.coordinator import evaluation, run_record, stage_plan
from sea_runtime.coordinator.job import Job
from sea_runtime.coordinator.ledger import progress, stages, transcripts
from sea_runtime.coordinator.ledger.database import Database, Ledger
from sea_runtime.coordinator.membership import Membership
from sea_runtime.coordinator.run_record import RunRecord
from sea_runtime.store.s3 import ObjectStore

log = logging.getLogger(__name__)

TICK_SECONDS = 1.0
REST = 20.0
"""Metrics, and episodes of an evaluation, are written whole each time: at most a twentieth of the
time goes into each."""


def metrics_url(run_url: str) -> str:
    return urls.join(run_url, "reports", "metrics.jsonl")


def rollouts_url(run_url: str, step: transcripts.Step) -> str:
    """A file that `sea report` and `sea replay` read."""
    name = f"step-{step.number:06d}{'-dropped' * step.dropped}.episodes.jsonl"
    return urls.join(run_url, "rollouts", step.stage, name)


def current(rows: Sequence[sqlite3.Row]) -> list[sqlite3.Row]:
    """The steps that count, each once: one that is trained again undoes itself and those after it.

    Args:
        rows: of all stages and attempts, in the order of their arrival.
    """
    by_stage: dict[str, list[sqlite3.Row]] = {}
    for row in rows:
        kept = by_stage.setdefault(row["stage"], [])
        while kept and kept[-1]["step"] >= row["step"]:
            kept.pop()
        kept.append(row)
    return [row for kept in by_stage.values() for row in kept]


def metric_lines(db: Database) -> str:
    """`GET /v1/metrics.jsonl`: one line per step, for learning curves."""
    return lines(progress.every(db))


def lines(rows: Sequence[sqlite3.Row]) -> str:
    """One JSON object per step; `rows` as `current` takes them."""
    return "".join(
        # The metrics are JSON in the ledger: not decoded to be encoded again.
        f'{{"stage": {json.dumps(row["stage"])}, "step": {row["step"]}, '
        f'"attempt": {row["attempt"]}, "totalSteps": {row["total_steps"]}, '
        f'"time": {row["time"]}, "metrics": {row["metrics"]}}}\n'
        for row in current(rows)
    )


class RunFolder:
    """Writes what is missing, in one pass after the other.

    Args:
        wall: unix seconds.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        job: Job,
        ledger: Ledger,
        store: ObjectStore,
        membership: Membership,
        namespace: str,
        wall: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._job, self._ledger, self._store = job, ledger, store
        self._membership, self._namespace = membership, namespace
        self._wall, self._clock = wall, clock
        self._lock = asyncio.Lock()
        self._specs: list[tuple[str, CoordinatorSpec]] = []
        self._written: tuple[Database, int] | None = None
        self._next = 0.0
        self._evaluated: tuple[Database, str, int] | None = None
        self._evaluate_at = 0.0
        self._record: RunRecord | None = None
        self._failing = ""

    def note_spec(self) -> None:
        """Takes the spec that has taken effect; called for each, so that no attempt is missed."""
        if (known := self._job.known) is not None:
            self._specs.append((run_record.time_text(self._wall()), known))

    async def look(self) -> None:
        """One pass, then a pause."""
        await self.catch_up()
        await asyncio.sleep(TICK_SECONDS)

    async def catch_up(self) -> None:
        """Writes what is missing; a store that fails is no problem of the job."""
        parts = (
            self._write_rollouts,
            self._write_metrics,
            self._write_evaluation,
            self._write_record,
        )
        for part in parts:
            await self._tried(part)

    async def flush(self) -> None:
        """Writes all that is missing now. Raises StoreError."""
        async with self._lock:
            await self._write_rollouts()
            self._next = 0.0
            await self._write_metrics()
            await self._write_record()

    async def _tried(self, part: Callable[[], Awaitable[None]]) -> None:
        try:
            # One writer at a time: an older body must not replace a newer one.
            async with self._lock:
                await part()
        except StoreError as error:
            if self._failing != str(error):
                log.warning("The run's folder waits for the store: %s", error)
            self._failing = str(error)
        else:
            self._failing = ""

    async def _write_rollouts(self) -> None:
        while (known := self._job.known) is not None:
            db = self._ledger.db
            step = transcripts.waiting(db)
            if step is None:
                return
            rows = transcripts.of_step(db, step)
            body = partial(_encoded, rows, transcripts.ZERO_ADVANTAGE if step.dropped else "")
            await self._put(rollouts_url(known.run_url, step), body)
            # Asked for again: the ledger may have gone back to a checkpoint during the upload, and
            # then the step that it writes next is another one.
            if not self._ledger.available or self._ledger.db is not db:
                return
            with db.transaction():
                transcripts.drop(db, {row["number"] for row in rows})

    async def _write_metrics(self) -> None:
        known = self._job.known
        if known is None or self._clock() < self._next:
            return
        db = self._ledger.db
        newest = progress.last_number(db)
        if not newest or self._written == (db, newest):
            return
        rows, began = progress.every(db), self._clock()
        await self._put(metrics_url(known.run_url), lambda: lines(rows).encode())
        self._written = db, newest
        self._next = self._clock() + REST * (self._clock() - began)

    async def _write_evaluation(self) -> None:
        """The episodes of a running evaluation; `Reports` writes them again when it ends."""
        known, stage = self._job.known, self._job.running_stage if self._job.known else None
        if known is None or stage is None or stage.type != StageType.EVALUATION:
            return
        db, began = self._ledger.db, self._clock()
        judged = stages.judged(db, stage.name)
        if not judged or self._evaluated == (db, stage.name, judged) or began < self._evaluate_at:
            return
        rows = stages.judged_so_far(db, stage.name)
        await self._put(
            evaluation.episodes_url(known.run_url, stage.name), partial(_evaluated, rows)
        )
        self._evaluated = db, stage.name, judged
        self._evaluate_at = self._clock() + REST * (self._clock() - began)

    async def _write_record(self) -> None:
        known = self._job.known
        if known is None:
            return
        before = self._record
        if before is None:
            before = await asyncio.to_thread(self._stored_record, known.run_url)
        noted = list(self._specs)
        after = self._updated(before, known, noted)
        if after != self._record:
            await self._put(urls.join(known.run_url, run_record.FILE), after.to_bytes)
            self._record = after
        # Only what is in the object: a spec may have arrived during the upload.
        del self._specs[: len(noted)]

    def _updated(
        self, record: RunRecord, known: CoordinatorSpec, noted: list[tuple[str, CoordinatorSpec]]
    ) -> RunRecord:
        now = run_record.time_text(self._wall())
        for time, desired in [*noted, (now, known)]:
            record = run_record.with_spec(record, desired, time)
            record = run_record.with_images(record, desired, time)
        roles = [role_label(role) for role in (Role.TRAINER, Role.ROLLOUT, Role.USER)]
        beats = [beat for role in roles for beat in self._membership.alive(role)]
        seen = {role_label(Role.COORDINATOR): [software.installed()]} | run_record.software_of(
            beats
        )
        return run_record.with_software(record, seen, now).model_copy(
            update={
                "job": known.job,
                "namespace": self._namespace,
                "uid": known.uid,
                "run_url": known.run_url,
                "model_url": newest_model(self._ledger.db, known),
            }
        )

    def _stored_record(self, run_url: str) -> RunRecord:
        """What an earlier life of the coordinator has written. Blocking."""
        url = urls.join(run_url, run_record.FILE)
        try:
            return run_record.parse(self._store.get(url))
        except ObjectNotFoundError:
            return RunRecord()
        except ValueError as error:
            log.warning("%s is written from scratch: %s", url, error)
            return RunRecord()

    async def _put(self, url: str, body: Callable[[], bytes]) -> None:
        # The body is made in the thread too: a step's dialogues may be tens of megabytes.
        await asyncio.to_thread(lambda: self._store.put(url, body()))


def _encoded(rows: Sequence[sqlite3.Row], dropped: str) -> bytes:
    return transcripts.lines(rows, dropped).encode()


def _evaluated(rows: Sequence[sqlite3.Row]) -> bytes:
    return evaluation.episode_lines(map(evaluation.record, rows)).encode()


def newest_model(db: Database, desired: CoordinatorSpec) -> str | None:
    """Hugging Face folder of the agent's newest finished model, None before there is one."""
    every = (stage.name for stage in desired.spec.stages)
    complete = {name for name in every if stages.phase(db, name) == StagePhase.COMPLETE}
    return stage_plan.newest_model(desired.spec, complete, desired.run_url)
