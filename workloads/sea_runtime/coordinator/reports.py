"""What a stage leaves in the object store for people: scores, episodes, curves, the timeline."""

import json
import logging
import time
from collections.abc import Callable
from typing import Any

from sea_api.v1alpha1.stages import Stage, StageType
from sea_data import urls
from sea_data.evaluation.report import Page, render
from sea_runtime.coordinator import evaluation, restore, timeline
from sea_runtime.coordinator.core import Coordinator
from sea_runtime.coordinator.ledger import registry

log = logging.getLogger(__name__)

Objects = dict[str, Callable[[], bytes]]
"""Bodies by address; made when they are uploaded, in a thread of their own."""


def collect(core: Coordinator, stage: Stage) -> Objects:
    """Objects by address, as the ledger has them now. Reads the ledger, so on the event loop."""
    root = core.desired.run_url
    metrics, spans = timeline.metric_lines(core.ledger), timeline.spans(core.ledger)
    found: Objects = {
        urls.join(root, "reports", "metrics.jsonl"): metrics.encode,
        urls.join(root, "reports", "timeline.json"): lambda: json.dumps(spans).encode(),
    }
    if stage.type == StageType.EVALUATION:
        found |= _evaluation(core, stage, root, metrics)
    return found


def _evaluation(core: Coordinator, stage: Stage, root: str, metrics: str) -> Objects:
    rows = evaluation.episodes(core.ledger, stage.name)
    version = registry.newest(core.ledger, "policy")
    earlier = evaluation.earlier(core.ledger, core.desired.spec.stages, stage)
    records = list(map(evaluation.record, rows))
    made = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(core.wall()))

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
        # Last: a restored coordinator takes the stage for over where this object exists.
        restore.report_url(root, stage.name): lambda: json.dumps(report(), indent=2).encode(),
    }


def _page(page: Page) -> bytes:
    """A page that can't be drawn must not hold up the job: the numbers are in the JSON."""
    try:
        return render(page).encode()
    except Exception:
        log.exception("the report page of '%s' could not be made", page.report["stage"])
        return b"The page could not be made; `sea report` on the episodes file says why.\n"


def upload(core: Coordinator, objects: Objects) -> None:
    """Writes them in their order. Blocking; safe to repeat."""
    for url, body in objects.items():
        core.store.put(url, body())
