"""What comes after the job is Complete: its result is told, whatever else fails from here on."""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.markup import escape

from sea_devcluster.demo import curve, places, report, summary
from sea_devcluster.demo.errors import DemoError
from sea_devcluster.demo.options import Options
from sea_devcluster.demo.outcome import Outcome
from sea_devcluster.demo.run_objects import RunObjects
from sea_devcluster.demo.target import Target
from sea_devcluster.demo.watch import Observation

Result = TypeVar("Result")


def conclude(
    options: Options, target: Target, console: Console, seen: Observation, started: float
) -> Outcome:
    """Collects what the run wrote, draws, and prints the result.

    An hour of training has succeeded by now: what fails here is a sentence on the console, never
    an exception, which would take the cluster with the trained model down.
    """
    status, metadata = seen.job["status"], seen.job["metadata"]
    aftermath = Aftermath(console)
    objects = RunObjects(status["runUrl"], target.server)
    outcome = Outcome(
        seconds=time.monotonic() - started,
        ready_seconds=seen.ready_seconds,
        status=status,
        rows=aftermath.attempt("The run's metrics were not read", objects.metrics, []),
        timeline=aftermath.attempt("The run's timeline was not read", objects.timeline, []),
    )
    scores: list[report.Score] = aftermath.attempt(
        "The evaluation was not understood", lambda: report.scores(status), []
    )
    run_url, stages = status["runUrl"], seen.job["spec"]["stages"]
    found = {
        **places.trained_model(run_url, stages),
        **_files(options.out, _writers(outcome, scores, objects, stages), aftermath),
        "training data": str(options.data or options.out / "data"),
        "run's objects": f"{run_url.rstrip('/')} at {target.server.endpoint}",
    }
    summary.show(console, scores, target, found, metadata["name"], metadata["namespace"])
    minutes, seconds = divmod(round(outcome.seconds), 60)
    console.print(f"\nAll of it took {minutes}:{seconds:02d}.", highlight=False)
    return outcome


class Aftermath:
    """Tries things one by one and tells what failed."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def attempt(self, failed: str, work: Callable[[], Result], otherwise: Result) -> Result:
        """What `work` returns, or `otherwise` after a sentence that begins with `failed`."""
        try:
            return work()
        except Exception as error:
            kind = "" if isinstance(error, DemoError) else f"{type(error).__name__}: "
            sentence = f"{failed} ({kind}{error}); the job itself is complete."
            with suppress(OSError):  # a closed terminal
                self._console.print(f"[yellow]![/] {escape(sentence)}", soft_wrap=True)
            return otherwise


def _writers(
    outcome: Outcome, scores: list[report.Score], objects: RunObjects, stages: Sequence[Any]
) -> dict[str, tuple[str, Callable[[Path], Any]]]:
    """What is written, by what people call it: the file's name, and who writes it."""
    page = places.report_page(stages)
    fetched: dict[str, tuple[str, Callable[[Path], Any]]] = (
        {"report page": ("evaluation.html", lambda path: path.write_bytes(objects.bytes(page)))}
        if page
        else {}
    )
    return {
        **fetched,
        "learning curve": (
            "learning-curve.png",
            lambda path: curve.draw(report.curve(outcome.rows), scores, path),
        ),
        "timeline": ("timeline.json", lambda path: path.write_text(json.dumps(outcome.timeline))),
        "metrics": ("metrics.json", lambda path: path.write_text(json.dumps(outcome.rows))),
    }


def _files(
    out: Path, writers: dict[str, tuple[str, Callable[[Path], Any]]], aftermath: Aftermath
) -> dict[str, str]:
    """Where those lie that could be written."""
    found = {}
    for label, (name, write) in writers.items():
        path = out / name
        if aftermath.attempt(f"The {label} was not written", _writing(write, path), False):
            found[label] = str(path)
    return found


def _writing(write: Callable[[Path], Any], path: Path) -> Callable[[], bool]:
    def work() -> bool:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path)
        return True

    return work
