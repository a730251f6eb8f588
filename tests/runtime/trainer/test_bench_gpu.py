"""`make bench-gpu` runs to its end on a CPU, needs torch only, and says what it lacks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sea_testing.waiting import HANG_S

pytestmark = pytest.mark.component

BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "gpu.py"
# What a bare machine doesn't have; importing one of them fails.
WITHOUT = "import sys, runpy; sys.modules.update(dict.fromkeys(['pydantic', 'megatron', 'numpy']));"


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    program = f"{WITHOUT} sys.argv = {[str(BENCHMARK), *arguments]!r};"
    program += f"runpy.run_path({str(BENCHMARK)!r}, run_name='__main__')"
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env=os.environ
        | {"CUDA_VISIBLE_DEVICES": "", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
        | {"PYTHONPATH": f"{BENCHMARK.parent}:{BENCHMARK.parents[1] / 'workloads'}"},
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )


def test_the_kernels_agree_in_its_tiny_mode() -> None:
    done = run("--cpu")
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["failed"] == []
    assert found["checks"].keys() == {"experts", "attention", "head", "stage_logprobs"}
    assert found["tokens_per_s"] > 0


def test_without_a_gpu_it_refuses_with_a_sentence() -> None:
    done = run()
    assert done.returncode == 2
    assert "no CUDA device answers" in done.stdout
