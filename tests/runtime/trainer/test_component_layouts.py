"""Every kind of parallel layout computes what one process computes; `make bench-layouts` tries all.

Each case trains three SFT steps and an RL step with two minibatches through the trainer's own
steps, on ranks that a warm parent forks, and compares log-probabilities, reduced gradients, their
norm, losses, parameters and what is published with the one-process run.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sea_testing.waiting import HANG_S

pytestmark = pytest.mark.component
TOLERANCE = 1e-5
CASES = [
    "moe: tensor 2, pipeline 2, expert 2",
    "moe: pipeline 4",
    "moe: context 2",
    "dense, tied: tensor 2, pipeline 2",
]
RESHARDED = ["all -> pipeline 2", "all -> context 2", "context 2 -> all"]
TRAPS = [
    "norms that aren't marked as sequence parallel",
    "weights that aren't marked as tensor parallel",
    "whole experts without expert parallelism",
    "a loss function of two values",
    "parameters that are gathered late",
]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Figures of each case; one program, since imports are slow."""
    file = tmp_path_factory.mktemp("layouts") / "report.json"
    program = Path(__file__).parents[3] / "benchmarks" / "layouts.py"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(program), "--small", "--report", str(file)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert file.exists(), done.stderr[-3000:]
    found: dict[str, Any] = json.loads(file.read_text())
    return found | {"stderr": done.stderr[-3000:]}


@pytest.mark.parametrize("case", CASES)
def test_a_layout_computes_what_one_process_does(report: dict[str, Any], case: str) -> None:
    found = report["cases"][case]
    assert not found["failed"], report["stderr"]
    for figure in ("logp", "grad_rel", "parameters", "loss", "grad_norm"):
        assert found[figure] <= TOLERANCE, figure


@pytest.mark.parametrize("pair", RESHARDED)
def test_a_checkpoint_continues_in_another_layout(report: dict[str, Any], pair: str) -> None:
    """The next two losses are those of the layout that saved it."""
    found = report["cases"][f"checkpoint: {pair}"]
    assert not found["failed"], report["stderr"]
    assert found["loss"] <= TOLERANCE


@pytest.mark.parametrize("trap", TRAPS)
def test_each_cure_is_needed(report: dict[str, Any], trap: str) -> None:
    """Without it the training is wrong, although the log-probabilities are right."""
    found = report["traps"][trap]
    assert found["shows"] > 4 * TOLERANCE
    assert found["logp"] <= TOLERANCE


@pytest.mark.parametrize("kind", ["tensor", "pipeline", "context", "expert"])
def test_the_death_of_a_rank_ends_the_collectives_of_the_others(
    report: dict[str, Any], kind: str
) -> None:
    """At once, not when a collective may take no longer."""
    found = report["killed"][kind]
    assert found["error"] in ("RuntimeError", "DistBackendError")
    assert found["seconds"] < found["deadline"]


@pytest.mark.parametrize("kind", ["tensor", "pipeline", "context", "expert"])
def test_after_the_death_of_a_rank_the_next_attempt_repeats_the_losses(
    report: dict[str, Any], kind: str
) -> None:
    """From the checkpoint before it."""
    assert report["killed"][kind]["loss"] <= TOLERANCE


def test_no_case_is_left_unread(report: dict[str, Any]) -> None:
    assert report["cases"].keys() == {*CASES, *(f"checkpoint: {pair}" for pair in RESHARDED)}
    assert report["traps"].keys() == set(TRAPS)
