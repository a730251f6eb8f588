"""Every way to save memory computes the same: one rank of the real Megatron."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sea_testing.waiting import HANG_S

pytestmark = pytest.mark.component


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Losses, norms and parameters of each case; one program, since imports are slow."""
    probe = Path(__file__).parent / "memory_probe.py"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(probe), str(tmp_path_factory.mktemp("memory"))],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"},
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    cases: dict[str, list[Any]] = json.loads(done.stdout.splitlines()[-1])
    return cases


def test_grouped_experts_train_as_sequential_ones_do(found: dict[str, list[Any]]) -> None:
    for ours, theirs in zip(found["moe"][:3], found["moe sequential"], strict=True):
        assert ours == pytest.approx(theirs, rel=2e-6)


def test_no_expert_weight_is_copied_for_it(found: dict[str, list[Any]]) -> None:
    views, copies = found["moe"][3]
    assert views > 0
    assert copies == 0


@pytest.mark.parametrize("kind", ["moe", "dense"])
@pytest.mark.parametrize("recompute", ["Selective", "Full"])
def test_recomputed_activations_give_the_same(
    found: dict[str, list[Any]], kind: str, recompute: str
) -> None:
    assert found[f"{kind} {recompute}"] == found[kind][:3]


def test_a_shared_prompt_gives_the_same(found: dict[str, list[Any]]) -> None:
    """Losses and parameters over three steps, as if every sequence computed it."""
    shared, whole = found["moe, a shared prompt"], found["moe, a prompt in each"]
    for ours, theirs in zip(shared, whole, strict=True):
        assert ours == pytest.approx(theirs, rel=2e-6)


def test_offloaded_optimizer_states_give_the_same(found: dict[str, list[Any]]) -> None:
    assert found["moe bf16 offload"] == found["moe bf16"]
