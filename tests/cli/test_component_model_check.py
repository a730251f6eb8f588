"""`sea model check` on a model of random weights: trainer, engine and transformers compute one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sea_testing.models import tiny_files
from sea_testing.waiting import HANG_S

pytestmark = pytest.mark.component
TOLERANCE = 1e-4
"""In FP32, of one token's log-probability."""


def test_all_three_give_the_same_log_probabilities(tmp_path: Path) -> None:
    for name, body in tiny_files().items():
        (tmp_path / name).write_bytes(body)
    program = [str(Path(sys.executable).with_name("sea")), "model", "check", str(tmp_path)]
    texts = ["--text", "Where is my order #W17?", "--text", "Two words"]
    done = subprocess.run(
        [*program, *texts, "--json", "--tolerance", str(TOLERANCE)],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)["differences"]
    pairs = {(one["first"], one["second"]) for one in found}
    assert pairs == {
        ("transformers", "trainer"),
        ("transformers", "engine"),
        ("trainer", "engine"),
    }
