"""What the coordinator makes of a job's plan: a verdict, and a stop before pods with GPUs."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from sea_api.contract import GPU_PRODUCT_LABEL
from sea_api.v1alpha1.job import Spec
from sea_api.wire.coordinator_spec import CoordinatorSpec, NodeGpu
from sea_api.wire.state import Fit
from sea_runtime.coordinator import plan_check
from sea_runtime.coordinator.errors import PreconditionError
from sea_runtime.planner.builtin_models import CONFIGS

LARGE = {"policy": CONFIGS["Qwen3-235B-A22B"], "user": CONFIGS["Qwen3-30B-A3B"]}
SMALL = {"policy": CONFIGS["Qwen3-8B"]}


@pytest.fixture
def manifest(root: Path) -> Any:
    """The reference job in its reference layout, with room for whole versions on its engines."""
    found = yaml.safe_load((root / "examples" / "areal-sea-235b.yaml").read_text())["spec"]
    found["trainer"]["parallelism"] = {"tensor": 4, "pipeline": 12, "expert": 4}
    for role in ("rollout", "userModel"):
        del found[role]["template"]["limits"]["memory"]
        del found[role]["template"]["requests"]["memory"]
    return found


def desired(manifest: Any, **gpus: NodeGpu) -> CoordinatorSpec:
    return CoordinatorSpec(
        digest="d",
        job="j",
        uid="u",
        spec_generation=1,
        spec=Spec.model_validate(manifest),
        stage_index=0,
        attempt=1,
        gpus=gpus,
        run_url="s3://b/j",
    )


def test_a_job_that_fits_says_what_is_fullest(manifest: Any) -> None:
    verdict = plan_check.judge(desired(manifest), LARGE)
    assert verdict is not None
    assert verdict.fit is Fit.FITS
    assert (
        "The fullest is each GPU of the trainer (stage 1 of 12), with 109.2 GB of 150.1 GB."
        in verdict.message
    )
    plan_check.require_fit(verdict)


def test_a_job_that_can_not_fit_is_refused_with_numbers(manifest: Any) -> None:
    manifest["scheduling"]["nodeSelector"][GPU_PRODUCT_LABEL] = "NVIDIA-A100-SXM4-80GB"
    verdict = plan_check.judge(desired(manifest), LARGE)
    with pytest.raises(PreconditionError) as caught:
        plan_check.require_fit(verdict)
    problem = caught.value.problem
    assert problem.reason == "DoesNotFit"
    assert "Each GPU of the trainer (stage" in problem.message
    assert " of 85.0 GB" in problem.message
    assert "sea plan" in problem.message


def test_a_job_within_the_error_of_the_plan_is_tight_and_runs(manifest: Any) -> None:
    manifest["trainer"]["template"]["limits"]["memory"] = "760Gi"
    manifest["trainer"]["template"]["requests"]["memory"] = "760Gi"
    verdict = plan_check.judge(desired(manifest), LARGE)
    assert verdict is not None
    assert verdict.fit is Fit.TIGHT
    assert verdict.message.startswith("Each pod of the trainer needs about 794.4 GB of 816.0 GB")
    plan_check.require_fit(verdict)


def test_what_the_nodes_say_counts_where_the_job_names_no_kind(manifest: Any) -> None:
    del manifest["scheduling"]["nodeSelector"]
    for role in ("trainer", "rollout", "userModel"):
        manifest[role]["template"] = {}
    small = NodeGpu(product="NVIDIA-A100-SXM4-80GB", memory_mib=81920)
    verdict = plan_check.judge(desired(manifest, trainer=small), LARGE)
    assert verdict is not None
    assert verdict.fit is Fit.DOES_NOT_FIT
    unknown = NodeGpu(product="Tesla-T4", memory_mib=15360)
    assert plan_check.judge(desired(manifest, trainer=unknown), LARGE) is None


def test_nothing_known_is_no_verdict(manifest: Any) -> None:
    manifest["scheduling"] = {}
    for role in ("trainer", "rollout", "userModel"):
        manifest[role]["template"] = {}
    assert plan_check.judge(desired(manifest), LARGE) is None
    plan_check.require_fit(None)


def test_a_model_that_only_engines_serve_is_left_out(manifest: Any) -> None:
    other = {"policy": {"architectures": ["LlamaForCausalLM"]}}
    assert plan_check.judge(desired(manifest), other) is None


@pytest.mark.parametrize(
    ("role", "change"),
    [
        ("trainer", {"replicas": 12}),
        ("trainer", {"maxTokensPerMicrobatch": 4096}),
        ("checkpoint", {"maxStagingBytes": 1 << 30}),
        ("scheduling", {"nodeSelector": {GPU_PRODUCT_LABEL: "NVIDIA-B200"}}),
    ],
)
def test_an_edit_of_what_decides_is_planned_again(
    manifest: Any, role: str, change: dict[str, Any]
) -> None:
    before = plan_check.digest(desired(manifest))
    manifest[role] |= change
    assert plan_check.digest(desired(manifest)) != before
