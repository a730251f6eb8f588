"""The reference job, and its plan."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from sea_api.v1alpha1.job import Spec
from sea_runtime.parallel.hf_config import ModelShape
from sea_runtime.planner import builtin_models, gpus
from sea_runtime.planner.job_plan import POLICY, USER, Known

EXAMPLES = Path(__file__).parents[3] / "examples"
LAYOUT = {"tensor": 4, "pipeline": 12, "expert": 4}
"""The reference run's: attention tensor 4 x pipeline 12, experts 4 x pipeline 12, on 48 GPUs."""


@pytest.fixture
def manifest() -> Any:
    found = yaml.safe_load((EXAMPLES / "areal-sea-235b.yaml").read_text())
    found["spec"]["trainer"]["parallelism"] = dict(LAYOUT)
    return found


@pytest.fixture
def reference(manifest: Any) -> Spec:
    return Spec.model_validate(manifest["spec"])


@pytest.fixture
def large() -> ModelShape:
    return shape("hf://Qwen/Qwen3-235B-A22B-Thinking-2507")


def shape(source: str) -> ModelShape:
    found = builtin_models.of_source(source)
    assert found is not None
    return found


@pytest.fixture
def known(large: ModelShape) -> Known:
    """Everything on H200."""
    user = shape("hf://Qwen/Qwen3-30B-A3B-Instruct-2507")
    return Known({POLICY: large, USER: user}, gpus.H200, gpus.H200, gpus.H200)
