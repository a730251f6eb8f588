"""What a stage leaves in the object store for people: scores, episodes, curves, the timeline."""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from typing import Any

from sea_api.v1alpha1.stages import Stage, StageType
from sea_data import urls
from sea_data.evaluation.report import Page, render
from sea_runtime.coordinator import evaluation, restore, stage_plan, timeline
from sea_runtime.coordinator.job import Job
from sea_runtime.coordinator.ledger import evaluations, registry
from sea_runtime.coordinator.ledger.database import Ledger
from sea_runtime.store.s3 import ObjectStore

log = logging.getLogger(__name__)

Objects = dict[str, Callable[[], bytes]]
"""Bodies by address; made when they are uploaded, in a thread of their own."""


class Reports:
    """Writes a stage's reports. Collecting reads the ledger, uploading blocks."""

    def __init__(
        self, job: Job, ledger: Ledger, store: ObjectStore, wall: Callable[[], float]
    ) -> None:
        self._job, self._ledger, self._store, self._wall = job, ledger, store, wall

    async def write(self, stage: Stage) -> None:
        """All objects of a stage that has ended; safe to repeat."""
        objects = self._collect(stage)
        await asyncio.to_thread(self._upload, objects)

    def _collect(self, stage: Stage) -> Objects:
        """Objects by address, as the ledger has them now."""
        root, db = self._job.desired.run_url, self._ledger.db
        metrics, spans = timeline.metric_lines(db), timeline.spans(db)
        found: Objects = {
            urls.join(root, "reports", "metrics.jsonl"): metrics.encode,
            urls.join(root, "reports", "timeline.json"): lambda: json.dumps(spans).encode(),
        }
        if stage.type == StageType.EVALUATION:
            found |= self._evaluation(stage, root, metrics)
        return found

    def _evaluation(self, stage: Stage, root: str, metrics: str) -> Objects:
        db = self._ledger.db
        version = registry.newest(db, stage_plan.POLICY)
        earlier = evaluation.earlier(db, self._job.desired.spec.stages, stage)
        # Read here, on the loop; the functions below run in a thread, where
        # the ledger can't be read.
        records = list(map(evaluation.record, evaluations.episodes(db, stage.name)))
        made = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self._wall()))

        def report() -> dict[str, Any]:
            return evaluation.report(stage, records, version)

        def page() -> bytes:
            steps = [json.loads(line) for line in metrics.splitlines()]
            title = root.rstrip("/").rpartition("/")[2]
            return _page(Page(report(), records, title, made, earlier, steps))

        return {
            urls.join(root, "evaluation", f"{stage.name}.episodes.jsonl"): lambda: (
                evaluation.episode_lines(records).encode()
            ),
            urls.join(root, "evaluation", f"{stage.name}.html"): page,
            # Last: a restored coordinator takes the stage for complete if this object exists.
            restore.report_url(root, stage.name): lambda: json.dumps(report(), indent=2).encode(),
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
