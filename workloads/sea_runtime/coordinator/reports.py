"""What a stage leaves in the object store when it ends: scores, episodes, the page, the timeline.

The timeline says what ran when, so that the overlap of generation and training can be seen.
"""

import asyncio
import json
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from typing import Any

from sea_api.v1alpha1.stages import Stage, StageType
from sea_data import urls
from sea_data.evaluation.report import Page, render
from sea_runtime.coordinator import evaluation, stage_plan
from sea_runtime.coordinator.job import Job
from sea_runtime.coordinator.ledger import groups, progress, registry, stages
from sea_runtime.coordinator.ledger.database import Database, Ledger
from sea_runtime.coordinator.run_folder import RunFolder, metric_lines
from sea_runtime.store.s3 import ObjectStore

log = logging.getLogger(__name__)

Span = dict[str, Any]
PARTS = {
    "batch_wait_s": "wait",
    "train_s": "train",
    "validation_s": "validate",
    "publish_s": "publish",
    "checkpoint_s": "checkpoint",
}
"""Seconds among the progress metrics that become spans, in the order in which a step does them."""

Objects = dict[str, Callable[[], bytes]]
"""Bodies by address; made when they are uploaded, in a thread of their own."""


class Reports:
    """Writes a stage's reports. Collecting reads the ledger, uploading blocks."""

    def __init__(
        self,
        job: Job,
        ledger: Ledger,
        store: ObjectStore,
        folder: RunFolder,
        wall: Callable[[], float],
    ) -> None:
        self._job, self._ledger, self._store = job, ledger, store
        self._folder, self._wall = folder, wall

    async def write(self, stage: Stage) -> None:
        """All objects of a stage that has ended; safe to repeat."""
        # The stage's last steps: after this the operator may let the pods go.
        await self._folder.flush()
        objects = self._collect(stage)
        await asyncio.to_thread(self._upload, objects)

    def _collect(self, stage: Stage) -> Objects:
        """Objects by address, as the ledger has them now."""
        root, db = self._job.desired.run_url, self._ledger.db
        timeline = spans(db)
        found: Objects = {
            urls.join(root, "reports", "timeline.json"): lambda: json.dumps(timeline).encode(),
        }
        if stage.type == StageType.EVALUATION:
            found |= self._evaluation(stage, root, metric_lines(db))
        return found

    def _evaluation(self, stage: Stage, root: str, metrics: str) -> Objects:
        db = self._ledger.db
        version = registry.newest(db, stage_plan.POLICY)
        earlier = evaluation.earlier(db, self._job.desired.spec.stages, stage)
        # Read here, on the loop; the functions below run in a thread, where
        # the ledger can't be read.
        records = list(map(evaluation.record, stages.evaluated(db, stage.name)))
        made = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self._wall()))

        def report() -> dict[str, Any]:
            return evaluation.report(stage, records, version)

        def page() -> bytes:
            steps = [json.loads(line) for line in metrics.splitlines()]
            title = root.rstrip("/").rpartition("/")[2]
            return _page(Page(report(), records, title, made, earlier, steps))

        return {
            evaluation.episodes_url(root, stage.name): lambda: evaluation.episode_lines(
                records
            ).encode(),
            urls.join(root, "evaluation", f"{stage.name}.html"): page,
            # Last: a restored coordinator takes the stage for complete if this object exists.
            evaluation.report_url(root, stage.name): lambda: json.dumps(
                report(), indent=2
            ).encode(),
        }

    def _upload(self, objects: Objects) -> None:
        """In their order."""
        for url, body in objects.items():
            self._store.put(url, body())


def _page(page: Page) -> bytes:
    """A page that can't be drawn must not hold up the job: the numbers are in the JSON."""
    try:
        return render(page).encode()
    except Exception:
        log.exception("the report page of '%s' could not be made", page.report["stage"])
        return b"The page could not be made; `sea report` on the episodes file says why.\n"


def spans(db: Database) -> list[Span]:
    """`GET /v1/timeline`: all spans in the order of their starts, times in unix seconds."""
    found = [*_generated(db), *_trained(db), *_updated(db)]
    return sorted(found, key=lambda span: (span["start"], span["kind"]))


def _generated(db: Database) -> Iterator[Span]:
    """One span per group, from its first lease to its last result."""
    for row in groups.finished(db):
        yield {
            "kind": "generate",
            "name": row["id"],
            "start": row["started"],
            "end": row["finished"],
            "stage": row["stage"],
            "step": row["step"],
            "state": row["state"],
            "tokens": row["tokens"],
        }


def _trained(db: Database) -> Iterator[Span]:
    for row in progress.every(db):
        yield from step_spans(row, json.loads(row["metrics"]))


def step_spans(row: sqlite3.Row, metrics: dict[str, float]) -> Iterator[Span]:
    """Spans of one step, laid end to end before the moment at which the step was reported."""
    end = row["time"]
    for metric, kind in reversed(PARTS.items()):
        seconds = metrics.get(metric, 0.0)
        if seconds > 0:
            yield {
                "kind": kind,
                "name": f"{row['stage']} step {row['step']}",
                "start": end - seconds,
                "end": end,
                "stage": row["stage"],
                "step": row["step"],
                "attempt": row["attempt"],
            }
            end -= seconds


def _updated(db: Database) -> Iterator[Span]:
    for row in registry.adoptions(db):
        yield {
            "kind": "update",
            "name": f"{row['pod']} v{row['version']}",
            "start": row["time"] - row["transfer_s"] - row["apply_s"],
            "end": row["time"],
            "stream": row["stream"],
            "version": row["version"],
            "transport": row["transport"],
            "transfer_s": row["transfer_s"],
            "apply_s": row["apply_s"],
            "pause_s": row["pause_s"],
        }
