"""Every workaround of Megatron is needed: without it a tiny training fails as its file says.

Fails once a newer megatron-core (or torch) no longer needs one: delete its file then.
"""

import re
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from sea_runtime.trainer import megatron_workarounds

pytestmark = pytest.mark.component

NO_DEVICE = (
    "Found no NVIDIA driver|Torch not compiled with CUDA enabled|No CUDA GPUs are available"
    "|CUDA driver version is insufficient"
)
# Whatever else is installed.
WITHOUT_CUDA = {
    "cuda_calls",
    "rng_state",
    "rng_fork",
    "schedule_zeros",
    "pipeline_synchronize",
    "alltoall_on_host",
}
FAILURES = {
    "cuda_calls": NO_DEVICE,
    "rng_state": NO_DEVICE,
    "te_general_gemm": "NameError: name 'te_general_gemm' is not defined",
    "cuda_names: device": NO_DEVICE,
    "cuda_names: cuda()": NO_DEVICE,
    "cuda_names: type()": "Wrapped parameters must be one of",
    "schedule_zeros": NO_DEVICE,
    "pipeline_synchronize": NO_DEVICE,
    "rng_fork": "cuda rng state model-parallel-rng is not added",
    "alltoall_on_host": NO_DEVICE,
}


@pytest.fixture(scope="module")
def outcomes(run_probe: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Error of each case, "" if training succeeded; one program, since imports are slow."""
    return run_probe("workaround_probe.py", tmp_path_factory.mktemp("probe"))


@pytest.mark.parametrize(
    ("cuda", "te", "wanted"),
    [
        (
            False,
            False,
            WITHOUT_CUDA | {"te_general_gemm"},
        ),
        # The image of the trainer has no TransformerEngine.
        (
            True,
            False,
            {"te_general_gemm"},
        ),
        (True, True, set()),
        (False, True, WITHOUT_CUDA),
    ],
)
def test_what_a_machine_lacks_decides_on_its_workarounds(
    cuda: bool, te: bool, wanted: set[str]
) -> None:
    assert set(megatron_workarounds.needed(cuda=cuda, te=te)) == wanted


def test_version_is_the_one_that_the_workarounds_are_for() -> None:
    installed = version("megatron-core")
    wanted = megatron_workarounds.VERSION
    assert installed == wanted, (
        f"megatron-core is {installed}, but the workarounds are for {wanted}: "
        "run the other tests of this file, delete workarounds that it no longer needs, correct "
        "the version in the docstrings of the rest, then set megatron_workarounds.VERSION."
    )


ALL_APPLIED = ("all applied", "all applied, tensor 2", "all applied, pipeline 2")


@pytest.mark.parametrize("case", ALL_APPLIED)
def test_all_workarounds_together_suffice(outcomes: dict[str, str], case: str) -> None:
    """Two steps, a save, a load into a new model: the next two losses are repeated."""
    assert outcomes[case] == ""


@pytest.mark.parametrize("case", FAILURES)
def test_without_one_the_training_fails(outcomes: dict[str, str], case: str) -> None:
    assert outcomes[case], f"The training passes without '{case}' too: delete that workaround."
    assert re.search(FAILURES[case], outcomes[case]), outcomes[case]


def test_no_workaround_is_left_untested(outcomes: dict[str, str]) -> None:
    assert outcomes.keys() == FAILURES.keys() | set(ALL_APPLIED)
    files = {path.stem for path in Path(megatron_workarounds.__file__).parent.glob("*.py")} - {
        "__init__"
    }
    assert files == {case.split(":")[0] for case in FAILURES}
