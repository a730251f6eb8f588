"""A job that is Complete: if anything fails later, its result is reported and its cluster stays."""

import io
import shlex
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sea_devcluster.demo import job, object_store, report, results, run, watch
from sea_devcluster.demo.object_store import ObjectServer, RunObjects
from sea_devcluster.demo.options import Options, parse
from sea_devcluster.demo.results import commands, report_page, trained_model
from sea_devcluster.demo.target import Target
from sea_devcluster.demo.watch import Observation

NOBODY = ObjectServer("http://127.0.0.1:9", "http://127.0.0.1:9", "a", "b")
TARGET = Target(Path("/k"), "/bin/kubectl", NOBODY)
ROWS: list[dict[str, Any]] = [{"step": 1, "time": 1.0, "metrics": {"reward": 0.5}}]
SCORE = {"stage": "eval-rl", "domain": "average", "passHat1": 61.5, "episodes": 256, "tasks": 64}
JOB = {
    "metadata": {"name": "tiny", "namespace": "sea-demo"},
    "spec": {"stages": [{"name": "rl", "type": "RL"}, {"name": "eval-rl", "type": "Evaluation"}]},
    "status": {"runUrl": "s3://runs/tiny", "evaluation": [SCORE]},
}
RUN = "s3://sea/tiny/tiny-1/"


def _conclude(out: Path) -> tuple[str, Any]:
    said = io.StringIO()
    outcome = results.conclude(
        _options(out), TARGET, Console(file=said, width=400), Observation(job=JOB), time.monotonic()
    )
    return said.getvalue(), outcome


def _options(out: Path) -> Options:
    return parse(["--plain", "--out", str(out)])


def test_an_object_store_that_is_gone_does_not_hide_the_result(tmp_path: Path) -> None:
    """The table comes from the job's status; the picture has no points."""
    said, outcome = _conclude(tmp_path / "out")
    assert "61.5 %" in said
    assert "metrics were not read (s3://runs/tiny/reports/metrics.jsonl can't be read" in said
    assert "the job itself is complete" in said
    assert "trained model    s3://runs/tiny/stages/rl/export" in said
    assert "report page was not written" in said
    assert outcome.rows == []
    assert (tmp_path / "out" / "learning-curve.png").exists()


@pytest.mark.parametrize("error", [RuntimeError("no fonts"), OSError(28, "No space left")])
def test_a_picture_that_cannot_be_drawn_does_not_hide_the_result(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is reported and not listed; the other files are."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(report, "draw_learning_curve", fail)
    monkeypatch.setattr(RunObjects, "metrics", lambda _: ROWS)
    monkeypatch.setattr(RunObjects, "timeline", lambda _: [])
    said, outcome = _conclude(tmp_path / "out")
    assert "61.5 %" in said
    assert f"learning curve was not written ({type(error).__name__}" in said
    assert "learning-curve.png" not in said
    assert "timeline.json" in said
    assert outcome.rows == ROWS


def test_the_report_page_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the last evaluation."""
    monkeypatch.setattr(RunObjects, "read", lambda _, key: f"page {key}".encode())
    monkeypatch.setattr(RunObjects, "metrics", lambda _: ROWS)
    monkeypatch.setattr(RunObjects, "timeline", lambda _: [])
    said, _ = _conclude(tmp_path / "out")
    page = tmp_path / "out" / "evaluation.html"
    assert page.read_text() == "page evaluation/eval-rl.html"
    assert f"report page      {page}" in said


def test_rows_of_another_shape_do_not_hide_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a newer coordinator might write them."""
    monkeypatch.setattr(RunObjects, "metrics", lambda _: [{"step": 1}])
    monkeypatch.setattr(RunObjects, "timeline", lambda _: [])
    said, _ = _conclude(tmp_path / "out")
    assert "61.5 %" in said
    assert "learning curve was not written (KeyError" in said


def test_the_run_ends_with_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure there never reaches the code that stops a failed demo's cluster."""
    monkeypatch.setattr(job, "require_no_earlier_job", lambda *_: None)
    for name in ("install", "submit"):
        monkeypatch.setattr(run, name, lambda *_: None)
    monkeypatch.setattr(object_store, "upload", lambda *_: 0)
    monkeypatch.setattr(job, "make_data", lambda *_: tmp_path)
    monkeypatch.setattr(run, "job_reader", lambda *_: None)
    monkeypatch.setattr(RunObjects, "read_absolute", lambda *_: 1 / 0)
    monkeypatch.setattr(watch, "follow", lambda *_, **__: Observation(job=JOB))
    said = io.StringIO()
    outcome = run.run(_options(tmp_path), TARGET, Console(file=said, width=400), time.monotonic())
    assert outcome.status is JOB["status"]
    assert "61.5 %" in said.getvalue()


def stages(*types: str) -> list[dict[str, str]]:
    return [{"name": f"s{n}", "type": kind} for n, kind in enumerate(types)]


def test_the_model_is_the_last_one_of_the_agent() -> None:
    found = stages("SFT", "RL", "UserSFT", "Evaluation")
    assert trained_model(RUN, found) == {"trained model": "s3://sea/tiny/tiny-1/stages/s1/export"}
    assert report_page(found) == "evaluation/s3.html"


def test_what_no_stage_makes_is_not_named() -> None:
    assert trained_model(RUN, stages("Synthesis")) == {}
    assert report_page(stages("Synthesis")) is None


def test_commands_survive_blanks_in_paths() -> None:
    server = ObjectServer("http://s3", "http://s3", "a", "b")
    target = Target(Path("/home/a b/kubeconfig"), "/home/a b/bin/kubectl", server)
    first, second, *_ = commands(target, "tiny", "sea-demo")
    assert shlex.split(first) == ["export", "KUBECONFIG=/home/a b/kubeconfig"]
    assert shlex.split(second) == ["export", "PATH=/home/a b/bin:$PATH"]
