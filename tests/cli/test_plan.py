"""`sea plan`: the page, the verdict as JSON, and what it says to what it can't plan."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from sea_cli import main
from sea_data.tiny_model import model_folder
from sea_runtime.planner.builtin_models import CONFIGS

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def job(root: Path) -> Any:
    found = yaml.safe_load((root / "examples" / "areal-sea-235b.yaml").read_text())
    found["spec"]["trainer"]["parallelism"] = {"tensor": 4, "pipeline": 12, "expert": 4}
    del found["spec"]["rollout"]["template"]["limits"]["memory"]
    del found["spec"]["rollout"]["template"]["requests"]["memory"]
    return found


def written(job: Any, folder: Path) -> str:
    file = folder / "job.yaml"
    file.write_text(yaml.safe_dump(job))
    return str(file)


def test_every_example_can_be_planned(root: Path, tmp_path: Path, capsys: Capture) -> None:
    tiny = tmp_path / "model"
    model_folder.build(["a few words"], tiny, 512)
    for file in sorted((root / "examples").glob("*.yaml")):
        job = yaml.safe_load(file.read_text())
        # Of a model that no hub has, its maker's config; of this one, `examples/thinking_model.py`.
        own = job["spec"]["model"]["source"].startswith("s3://")
        main(["plan", str(file), *(["--model-config", str(tiny)] if own else [])])
        out = capsys.readouterr()
        assert out.out.startswith(f"Plan of {job['metadata']['name']}")
        assert "Assumptions" in out.out
        assert not out.err


def test_the_page_proposes_layouts_and_splits(job: Any, tmp_path: Path, capsys: Capture) -> None:
    assert main(["plan", written(job, tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "trainer   48 x H200: tensor 4, pipeline 12, expert 4" in out
    assert "Layouts of these trainer GPUs that fit" in out
    assert "Best splits of 80 GPUs" in out


def test_what_does_not_fit_exits_with_1_and_names_what_would(
    job: Any, tmp_path: Path, capsys: Capture
) -> None:
    job["spec"]["trainer"]["parallelism"] = {"expert": 16}
    assert main(["plan", written(job, tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "does not fit" in out
    assert "{tensor: 8, pipeline: 3, expert: 16}" in out


def test_where_no_layout_of_the_gpus_fits_the_fewest_that_do_are_named(
    job: Any, tmp_path: Path, capsys: Capture
) -> None:
    """Also where the GPUs that the job has in all leave no split."""
    job["spec"]["trainer"] |= {"replicas": 1, "parallelism": {"tensor": 4, "expert": 8}}
    assert main(["plan", written(job, tmp_path), "--gpus", "16"]) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "No layout of these trainer GPUs fits; 48 do, with {" in out
    assert "Best splits" not in out
    assert "No split of 16 GPUs into training and generation fits." in out


def test_a_mean_length_beyond_the_context_is_refused(
    job: Any, tmp_path: Path, capsys: Capture
) -> None:
    assert main(["plan", written(job, tmp_path), "--mean-tokens", "40000"]) == 1
    error = capsys.readouterr().err
    assert "40,000 tokens on average (mean length given)" in error
    assert "contextLength 32,768" in error


def test_the_verdict_as_json(job: Any, tmp_path: Path, capsys: Capture) -> None:
    assert main(["plan", written(job, tmp_path), "--json", "--gpu", "B200"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] in ("fits", "tight")
    trainer = found["budgets"][0]
    assert sum(trainer["items"].values()) == pytest.approx(trainer["needed"], abs=20)
    assert found["stages"][0]["step_s"] > 0


def test_lengths_of_a_run_replace_assumed_ones(job: Any, tmp_path: Path, capsys: Capture) -> None:
    metrics = {"trajectories": 256.0, "tokens": 256 * 4000.0, "generated_tokens": 256 * 1000.0}
    file = tmp_path / "metrics.jsonl"
    file.write_text(json.dumps({"stage": "rl", "step": 1, "metrics": metrics}) + "\n")
    assert main(["plan", written(job, tmp_path), "--metrics", str(file)]) == 0
    out = capsys.readouterr().out
    assert "256 trajectories of 4,000 tokens" in out
    assert "measured over 1 steps; 25% generated" in out


def test_a_simulation_names_what_limits_the_pace(job: Any, tmp_path: Path, capsys: Capture) -> None:
    rl = next(stage["rl"] for stage in job["spec"]["stages"] if "rl" in stage)
    rl |= {"promptsPerStep": 2, "trajectoriesPerPrompt": 4, "maxConcurrentGroups": 6}
    assert main(["plan", written(job, tmp_path), "--simulate"]) == 0
    out = capsys.readouterr().out
    assert "as asked: maxStaleness 2" in out
    assert "synchronous: maxStaleness 0" in out


def test_a_config_of_ones_own(job: Any, tmp_path: Path, capsys: Capture) -> None:
    job["spec"]["model"]["source"] = "s3://research/mine"
    assert main(["plan", written(job, tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "The shape of s3://research/mine isn't known" in error
    assert "--model-config" in error
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS["Qwen3-30B-A3B"]))
    assert main(["plan", written(job, tmp_path), "--model-config", str(tmp_path)]) == 0
    assert "30.53 B parameters" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("kind: ConfigMap\n", "has 0 jobs of kind SEATrainingJob"),
        ("a: [\n", "job.yaml:2:"),
        ("kind: SEATrainingJob\nmetadata: {name: x}\nspec: {}\n", "`sea job check"),
    ],
)
def test_a_file_without_a_plannable_job(
    content: str, says: str, tmp_path: Path, capsys: Capture
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(content)
    assert main(["plan", str(file)]) == 1
    assert says in capsys.readouterr().err


def test_a_layout_that_the_model_refuses_is_a_sentence(
    job: Any, tmp_path: Path, capsys: Capture
) -> None:
    job["spec"]["trainer"] |= {"parallelism": {"expert": 3}}
    assert main(["plan", written(job, tmp_path)]) == 1
    assert "which doesn't divide the model's 128 experts" in capsys.readouterr().err
