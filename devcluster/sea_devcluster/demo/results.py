"""After the job is Complete: writes the result files, prints the result and what to try next.

An hour of training has succeeded at this point. What fails here becomes a sentence on the console,
never an exception, which would take down the cluster with the trained model.
"""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Any, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sea_devcluster.demo import report
from sea_devcluster.demo.object_store import RunObjects
from sea_devcluster.demo.options import Options
from sea_devcluster.demo.report import RunResult, Score
from sea_devcluster.demo.target import Target
from sea_devcluster.demo.watch import Observation
from sea_devcluster.errors import DemoError

Result = TypeVar("Result")
Writer = Callable[[Path], object]
MODEL_STAGES = ("SFT", "RL")
"""Stages that train the agent; the last one's export is the job's product."""
LABELS = {"eval-sft": "after SFT", "eval-rl": "after RL"}


def conclude(
    options: Options, target: Target, console: Console, seen: Observation, started: float
) -> RunResult:
    """Collects what the run wrote, writes the result files and prints the result."""
    status, metadata = seen.job["status"], seen.job["metadata"]
    run_url, stages = status["runUrl"], seen.job["spec"]["stages"]
    objects = RunObjects(run_url, target.server)
    result = RunResult(
        seconds=time.monotonic() - started,
        ready_seconds=seen.ready_seconds,
        status=status,
        rows=attempt(console, "The run's metrics were not read", objects.metrics, []),
        timeline=attempt(console, "The run's timeline was not read", objects.timeline, []),
    )
    scores: list[Score] = attempt(
        console, "The evaluation was not understood", lambda: report.scores(status), []
    )
    locations = {
        **trained_model(run_url, stages),
        **_write_files(console, options.out, _writers(result, scores, objects, stages)),
        "training data": str(options.data or options.out / "data"),
        "run's objects": f"{run_url.rstrip('/')} at {target.server.endpoint}",
    }
    show(console, scores, locations, commands(target, metadata["name"], metadata["namespace"]))
    minutes, seconds = divmod(round(result.seconds), 60)
    console.print(f"\nAll of it took {minutes}:{seconds:02d}.", highlight=False)
    return result


def attempt(console: Console, failed: str, work: Callable[[], Result], otherwise: Result) -> Result:
    """What `work` returns, or `otherwise` after printing a sentence that begins with `failed`."""
    try:
        return work()
    except Exception as error:
        kind = "" if isinstance(error, DemoError) else f"{type(error).__name__}: "
        sentence = f"{failed} ({kind}{error}); the job itself is complete."
        with suppress(OSError):  # a closed terminal
            console.print(f"[yellow]![/] {escape(sentence)}", soft_wrap=True)
        return otherwise


def trained_model(run_url: str, stages: Sequence[Any]) -> dict[str, str]:
    """Label and address of the last trained model; empty if no stage trains one."""
    stage = _last(stages, MODEL_STAGES)
    return {"trained model": f"{run_url.rstrip('/')}/stages/{stage}/export"} if stage else {}


def report_page(stages: Sequence[Any]) -> str | None:
    """Key of the last evaluation's page below the run's prefix; None if no stage evaluates."""
    stage = _last(stages, ("Evaluation",))
    return f"evaluation/{stage}.html" if stage else None


def show(
    console: Console,
    scores: Sequence[Score],
    locations: dict[str, str],
    next_commands: Sequence[str],
) -> None:
    """Prints the scores, where everything is stored, and the next commands."""
    console.print(score_table(scores))
    if len(scores) > 1:
        gain = scores[-1].pass1 - scores[0].pass1
        console.print(f"Reinforcement learning changed held-out pass^1 by {gain:+.1f} points.\n")
    for label, location in locations.items():
        console.print(f"{label:<16} {location}", highlight=False, soft_wrap=True)
    console.print("\nTry next:")
    for command in next_commands:
        console.print(f"  {command}", highlight=False, soft_wrap=True)


def score_table(scores: Sequence[Score]) -> Table:
    """One row per evaluation stage."""
    result = Table(title="Evaluation")
    for column in ("model", "pass^1", "± (1 s.e.)", "episodes", "tasks"):
        result.add_column(column, justify="left" if column == "model" else "right")
    for score in scores:
        result.add_row(
            LABELS.get(score.stage, score.stage),
            f"{score.pass1:.1f} %",
            f"{score.standard_error:.1f}",
            str(score.episodes),
            str(score.tasks),
        )
    return result


def commands(target: Target, job: str, namespace: str) -> list[str]:
    """What a user would type next."""
    environment = []
    if target.kubeconfig:
        environment = [
            f"export KUBECONFIG={quote(str(target.kubeconfig))}",
            f"export PATH={quote(str(Path(target.kubectl).parent))}:$PATH",
        ]
    return [
        *environment,
        f"kubectl -n {namespace} get seatrainingjobs -o wide",
        f"kubectl -n {namespace} get seajob {job} -o yaml",
        f"kubectl -n {namespace} get events --sort-by=.lastTimestamp",
        "kubectl -n sea-system logs deploy/sea-operator --tail 20",
        *([target.down_command] if target.down_command else []),
    ]


def _writers(
    result: RunResult, scores: list[Score], objects: RunObjects, stages: Sequence[Any]
) -> dict[str, tuple[str, Writer]]:
    """The result files by their label: name, and the function that writes the file."""
    writers: dict[str, tuple[str, Writer]] = {}
    if page := report_page(stages):
        writers["report page"] = ("evaluation.html", lambda p: p.write_bytes(objects.read(page)))
    return {
        **writers,
        "learning curve": (
            "learning-curve.png",
            lambda p: report.draw_learning_curve(report.learning_curve(result.rows), scores, p),
        ),
        "timeline": ("timeline.json", lambda p: p.write_text(json.dumps(result.timeline))),
        "metrics": ("metrics.json", lambda p: p.write_text(json.dumps(result.rows))),
    }


def _write_files(
    console: Console, out: Path, writers: dict[str, tuple[str, Writer]]
) -> dict[str, str]:
    """Label and path of the files that could be written."""
    written = {}
    for label, (name, write) in writers.items():
        path = out / name
        if attempt(console, f"The {label} was not written", partial(_write, path, write), False):
            written[label] = str(path)
    return written


def _write(path: Path, write: Writer) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path)
    return True


def _last(stages: Sequence[Any], types: tuple[str, ...]) -> str | None:
    names = [str(stage["name"]) for stage in stages if stage["type"] in types]
    return names[-1] if names else None
