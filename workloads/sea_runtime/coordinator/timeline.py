"""`GET /v1/timeline`: what ran when, so that the overlap of generation and training can be seen."""

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

from sea_runtime.coordinator.ledger import groups, progress, registry
from sea_runtime.coordinator.ledger.database import Database

Span = dict[str, Any]
PARTS = {
    "batch_wait_s": "wait",
    "train_s": "train",
    "validation_s": "validate",
    "publish_s": "publish",
    "checkpoint_s": "checkpoint",
}
"""Seconds among the progress metrics that become spans, in the order in which a step does them."""


def spans(db: Database) -> list[Span]:
    """All spans in the order of their starts, times in unix seconds."""
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


def metric_lines(db: Database) -> str:
    """`GET /v1/metrics.jsonl`: all progress rows, for learning curves."""
    return "".join(
        json.dumps(
            {
                "stage": row["stage"],
                "step": row["step"],
                "attempt": row["attempt"],
                "totalSteps": row["total_steps"],
                "time": row["time"],
                "metrics": json.loads(row["metrics"]),
            }
        )
        + "\n"
        for row in progress.every(db)
    )
