"""`make bench-first-light`: the demo job with everything measured.

Prints the demo, then rows for people, and as its last line one JSON object. Memory is the sum over
all processes of the devcluster; `peak_rss_gib` counts a page that two processes share twice,
`peak_pss_gib` once.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from sea_devcluster.demo.main import demo
from sea_devcluster.demo.memory import Usage
from sea_devcluster.demo.options import parse
from sea_devcluster.demo.report import RunResult, scores

GIB = 2**30


def measurements(result: RunResult, memory: Usage) -> dict[str, Any]:
    """The benchmark's JSON object; medians over steps, in seconds."""
    results = scores(result.status)
    rows, timeline = result.rows, result.timeline
    throughput = speeds(result)
    return {
        "demo_s": round(result.seconds, 1),
        "ready_s": None if result.ready_seconds is None else round(result.ready_seconds, 1),
        "step_s": {
            "generate": middle(generation_seconds(timeline)),
            "train": middle(metric(rows, "train_s")),
            "update": middle(
                [
                    sum(parts)
                    for parts in zip(
                        field_values(timeline, "update", "transfer_s"),
                        field_values(timeline, "update", "apply_s"),
                        strict=True,
                    )
                ]
            ),
            "pause": middle(field_values(timeline, "update", "pause_s")),
            "pause_max": largest(field_values(timeline, "update", "pause_s")),
            "checkpoint": middle([s for s in metric(rows, "checkpoint_s") if s > 0.01]),
        },
        "tokens_per_s": throughput,
        "pass1": {s.stage.removeprefix("eval-"): round(s.pass1, 1) for s in results},
        "pass1_n": results[0].episodes if results else 0,
        "peak_rss_gib": round(memory.rss / GIB, 2),
        "peak_pss_gib": round(memory.pss / GIB, 2),
        "logprob_max_diff": largest(metric(rows, "logprob_max_diff")),
        "restarts": restarts(result.status),
        "overlap_s": round(overlap_seconds(timeline, "generate", "train"), 1),
    }


def restarts(status: dict[str, Any]) -> int:
    """Starts of the trainer after the first, for any reason."""
    counts = status.get("restarts") or {}
    return int(counts.get("counted", 0)) + int(counts.get("uncounted", 0))


def speeds(result: RunResult) -> dict[str, float | None]:
    """Tokens over the RL stage's wall time: from its first row to its last."""
    rl = [row for row in result.rows if "reward" in row["metrics"]]
    if len(rl) < 2:
        return {"generated": None, "trained": None}
    seconds = rl[-1]["time"] - rl[0]["time"]
    return {
        name: round(sum(row["metrics"].get(key, 0) for row in rl[1:]) / seconds, 1)
        for name, key in (("generated", "generated_tokens"), ("trained", "tokens"))
    }


def metric(rows: Sequence[dict[str, Any]], name: str) -> list[float]:
    """All values of a metric in the RL stage's rows."""
    return [
        row["metrics"][name]
        for row in rows
        if "reward" in row["metrics"] and row["metrics"].get(name) is not None
    ]


def middle(values: Sequence[float]) -> float | None:
    """Median, None without values."""
    return round(median(values), 4) if values else None


def largest(values: Sequence[float]) -> float | None:
    """Maximum, None without values."""
    return max(values) if values else None


def generation_seconds(timeline: Iterable[dict[str, Any]]) -> list[float]:
    """Seconds per RL step from the start of its first group to the end of its last."""
    steps: dict[int, list[dict[str, Any]]] = {}
    for span in timeline:
        if span["kind"] == "generate" and span.get("step") is not None:
            steps.setdefault(span["step"], []).append(span)
    return [
        max(span["end"] for span in spans) - min(span["start"] for span in spans)
        for spans in steps.values()
    ]


def field_values(timeline: Iterable[dict[str, Any]], kind: str, name: str) -> list[float]:
    """A field of all spans of one kind, for example `pause_s` of the updates."""
    return [span[name] for span in timeline if span["kind"] == kind and name in span]


def busy(timeline: Iterable[dict[str, Any]], kind: str) -> list[tuple[float, float]]:
    """Disjoint, ordered intervals in which at least one span of a kind ran."""
    merged: list[tuple[float, float]] = []
    for start, end in sorted((s["start"], s["end"]) for s in timeline if s["kind"] == kind):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def overlap_seconds(timeline: Sequence[dict[str, Any]], one: str, other: str) -> float:
    """Seconds during which both kinds ran at the same time."""
    return sum(
        max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
        for a in busy(timeline, one)
        for b in busy(timeline, other)
    )


def main() -> int:
    """Runs the demo and stops its cluster."""
    finished = demo(parse([*sys.argv[1:], "--down"]), measure_memory=True)
    if finished is None:
        return 1
    result = measurements(finished.result, finished.memory)
    for name, value in result.items():
        print(f"{name:>18}  {value}")
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
