"""Where everything of a finished run lies: what the demo fetched, and what stays in S3."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sea_devcluster.demo.outcome import Outcome
from sea_devcluster.demo.run_objects import RunObjects
from sea_devcluster.demo.target import ObjectServer

MODEL_STAGES = ("Sft", "Rl")
"""Stages that train the agent; the last one's export is the job's product."""


def fetch(objects: RunObjects, outcome: Outcome, stages: Sequence[Any], out: Path) -> None:
    """Writes timeline, metrics and the last evaluation's report page into `out`."""
    (out / "timeline.json").write_text(json.dumps(outcome.timeline))
    (out / "metrics.json").write_text(json.dumps(outcome.rows))
    evaluation = last(stages, ("Evaluation",))
    if evaluation:
        (out / "evaluation.html").write_bytes(objects.bytes(f"evaluation/{evaluation}.html"))


def places(
    outcome: Outcome, stages: Sequence[Any], server: ObjectServer, out: Path, data: Path
) -> dict[str, str]:
    """What is called how and lies where, for people."""
    run_url = str(outcome.status["runUrl"]).rstrip("/")
    model, evaluation = last(stages, MODEL_STAGES), last(stages, ("Evaluation",))
    found = {
        "trained model": f"{run_url}/stages/{model}/export" if model else "",
        "report page": str(out / "evaluation.html") if evaluation else "",
        "learning curve": str(out / "learning-curve.png"),
        "timeline": str(out / "timeline.json"),
        "training data": str(data),
        "run's objects": f"{run_url} at {server.endpoint}",
    }
    return {label: place for label, place in found.items() if place}


def last(stages: Sequence[Any], types: tuple[str, ...]) -> str | None:
    """Name of the last stage of one of the types."""
    names = [str(stage["name"]) for stage in stages if stage["type"] in types]
    return names[-1] if names else None
