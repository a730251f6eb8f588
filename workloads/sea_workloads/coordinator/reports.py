"""What a stage leaves in the object store for people: scores, episodes, curves, the timeline."""

import json

from sea_api.v1alpha1.stages import Stage, StageType
from sea_workloads.coordinator import evaluation, restore, timeline
from sea_workloads.coordinator.core import Coordinator
from sea_workloads.coordinator.ledger import registry
from sea_workloads.store import urls

Objects = dict[str, bytes]


def collect(core: Coordinator, stage: Stage) -> Objects:
    """Objects by address, as the ledger has them now. Reads the ledger, so on the event loop."""
    root = core.desired.run_url
    found: Objects = {
        urls.join(root, "reports", "metrics.jsonl"): timeline.metric_lines(core.ledger).encode(),
        urls.join(root, "reports", "timeline.json"): json.dumps(
            timeline.spans(core.ledger)
        ).encode(),
    }
    if stage.type == StageType.EVALUATION:
        rows = evaluation.episodes(core.ledger, stage.name)
        report = evaluation.report(stage, rows, registry.newest(core.ledger, "policy"))
        lines = evaluation.episode_lines(rows).encode()
        found[urls.join(root, "evaluation", f"{stage.name}.episodes.jsonl")] = lines
        body = json.dumps(report, indent=2).encode()
        # Last: a restored coordinator takes the stage for over where this object exists.
        found[restore.report_url(root, stage.name)] = body
    return found


def upload(core: Coordinator, objects: Objects) -> None:
    """Writes them in their order. Blocking; safe to repeat."""
    for url, body in objects.items():
        core.store.put(url, body)
