"""`sea job check`: small edits of a good job, each with the line and the sentence it gets."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from sea_cli import main

GOOD = """\
apiVersion: sea-operator.io/v1alpha1
kind: SEATrainingJob
metadata:
  name: mydesk
spec:
  model: {name: qwen, source: "hf://Qwen/Qwen3-0.6B", contextLength: 8192}
  storage:
    url: s3://research/mydesk
    region: eu-central-1
  data:
    sft: ["s3://research/data/sft.jsonl"]
    rl: ["s3://research/data/rl.jsonl"]
  domains: [retail]
  stages:
    - name: sft
      type: SFT
      sft: {}
    - name: rl
      type: RL
      rl:
        steps: 100
        learningRate: 1e-6
  rollout:
    gpusPerPod: 1
"""


MISTAKES = yaml.safe_load((Path(__file__).parent / "job_mistakes.yaml").read_text())


def _edited(case: dict[str, Any], folder: Path) -> Path:
    assert case["replace"] in GOOD
    file = folder / "job.yaml"
    file.write_text(GOOD.replace(case["replace"], case["by"]))
    return file


@pytest.mark.parametrize("case", MISTAKES["problems"], ids=lambda case: case["by"][:40])
def test_a_mistake_gets_its_line_its_path_and_a_sentence(
    case: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _edited(case, tmp_path)
    assert main(["job", "check", str(file)]) == 1
    lines = capsys.readouterr().out.splitlines()
    found = [line for line in lines if line.startswith(f"{file}:{case['line']}: {case['path']}: ")]
    assert any(case["sentence"] in line for line in found), lines


@pytest.mark.parametrize("case", MISTAKES["warnings"], ids=lambda case: case["by"][:40])
def test_what_is_probably_not_meant_is_a_warning_and_no_failure(
    case: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _edited(case, tmp_path)
    assert main(["job", "check", str(file)]) == 0
    out = capsys.readouterr().out
    assert f"{file}:{case['line']}: warning: " in out
    assert case["sentence"] in out
    assert "1 job, no problem found" in out


@pytest.mark.parametrize(
    "edit",
    [
        ("", ""),
        ("s3://research/mydesk", "s3://research/mydesk/"),
        ("s3://research/mydesk", "s3://research"),
        ("steps: 100", "steps: 1e3"),
        ("steps: 100", "steps: 100.0"),
        ("1e-6", ".000001"),
        ("hf://Qwen/Qwen3-0.6B", "hf://Qwen/Qwen3-0.6B@main"),
        ("region: eu-central-1", "region: '1'"),
        ("region: eu-central-1", "region: !!str 1"),
        ("region: eu-central-1", "region: 2026-01-01"),
        ("apiVersion", "\ufeffapiVersion"),
        (
            "rollout:",
            "coordinator: {<<: {volumeSize: 1Gi}}\n  rollout:",
        ),
    ],
)
def test_good_jobs_pass_without_a_word(
    edit: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(GOOD.replace(*edit) if edit[0] else GOOD)
    assert main(["job", "check", str(file)]) == 0
    assert capsys.readouterr().out == "1 job, no problem found\n"


def test_all_problems_of_a_job_are_reported_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "job.yaml"
    text = GOOD.replace("    rl: [", "    lr: [").replace("type: SFT", "type: sft")
    file.write_text(text.replace("steps", "step"))
    assert main(["job", "check", str(file)]) == 1
    lines = [out.split(":")[1] for out in capsys.readouterr().out.splitlines()[:-1]]
    assert lines == sorted(lines, key=int)
    assert {"12", "16", "21"} <= set(lines)


def test_several_documents_and_other_kinds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "all.yaml"
    other = "apiVersion: v1\nkind: Secret\nmetadata: {name: s3}\nnonsense: true\n"
    file.write_text(f"---\n{other}---\n# nothing\n---\n{GOOD}---\n{GOOD.replace('steps', 'step')}")
    assert main(["job", "check", str(file)]) == 1
    *found, last = capsys.readouterr().out.splitlines()
    line = 1 + 4 + 2 + 1 + 24 + 1 + 21
    assert found == [
        f"{file}:{line}: spec.stages[1].rl.step: there is no such field, so it has no effect: did "
        "you mean steps?"
    ]
    assert last == "2 jobs, 1 problem"


def test_jobs_in_a_list_and_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = yaml.safe_load(GOOD)
    job["spec"]["stages"][1]["rl"] = {"step": 1, "learningRate": 0.00001}
    file = tmp_path / "job.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [job]}, indent="\t"))
    assert main(["job", "check", str(file)]) == 1
    out = capsys.readouterr().out
    line = next(i for i, text in enumerate(file.read_text().splitlines(), 1) if '"step"' in text)
    assert f"{file}:{line}: spec.stages[1].rl.step: there is no such field" in out
    job["spec"]["stages"][1]["rl"] = {}
    job["spec"]["model"]["name"] = "qwen"
    file.write_text(json.dumps(job) + "\n" + json.dumps(job, indent=2))
    assert main(["job", "check", str(file)]) == 0
    assert "2 jobs, no problem found" in capsys.readouterr().out


UNREADABLE = [
    (GOOD.replace("    url", "\turl"), 8, "YAML allows no tab here: replace it by blanks"),
    (GOOD.replace("[retail]", "[retail"), 14, "this is no YAML"),
    (GOOD.replace("retail", "{{ .Values.domain }}"), 13, "render templates first"),
    (GOOD.replace("name: mydesk", "{{- if .x }}"), 4, "it looks like a template, render it first"),
    ("", 1, "there is no SEATrainingJob in this file"),
    ("# nothing\n", 1, "there is no SEATrainingJob in this file"),
    ("apiVersion: v1\nkind: Secret\n", 1, "there is no SEATrainingJob in this file"),
    ("just a text", 1, "there is no SEATrainingJob in this file"),
    ("a: &a [*a]\n", 1, "an alias repeats without end"),
    ("? [a]\n: b\n", 1, "a field's name must be a text"),
]


@pytest.mark.parametrize(("text", "line", "sentence"), UNREADABLE)
def test_a_file_that_holds_no_job(
    text: str, line: int, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(text)
    assert main(["job", "check", str(file)]) == 1
    assert any(
        out.startswith(f"{file}:{line}: ") and sentence in out
        for out in capsys.readouterr().out.splitlines()
    )


def test_bytes_that_are_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "job.yaml"
    file.write_bytes(b"a: b\nc: \xff\xfe\n")
    assert main(["job", "check", str(file)]) == 1
    assert f"{file}:2: this is no UTF-8 text" in capsys.readouterr().out


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["job", "check", "/nowhere/job.yaml"]) == 1
    assert capsys.readouterr().err == "sea: /nowhere/job.yaml: No such file or directory.\n"


def test_no_file_is_wrong_usage() -> None:
    with pytest.raises(SystemExit) as ended:
        main(["job", "check"])
    assert ended.value.code == 2


def test_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(GOOD.replace("steps", "step"))
    with file.open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert main(["job", "check", "-"]) == 1
    assert capsys.readouterr().out.startswith("stdin:21: spec.stages[1].rl.step: ")


def test_json_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(GOOD.replace("steps: 100", "step: 0x10"))
    assert main(["job", "check", str(file), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["jobs"], report["problems"]) == (1, 1)
    (problem,) = report["findings"]
    assert problem["file"] == str(file)
    assert (problem["line"], problem["path"]) == (21, "spec.stages[1].rl.step")
    assert problem["severity"] == "problem"


CASES = (
    Path(os.environ.get("SEA_CASES") or Path(__file__).parents[3] / "shared" / "cases")
    / "malformed"
)
ACCEPTED = {
    "00-good",
    "25-source-hf-revision",
    "31-storage-no-prefix",
    "32-storage-trailing-slash",
    "46-lr-1e-5",
    "71-tensor-2-trainer",
    "a6-toleration-seconds",
}
WARNED = {
    "49-lr-too-big",
    "50-steps-0x10",
    "51-steps-underscore",
    "52-steps-octal",
    "55-filter-yes",
    "56-filter-on",
    "85-batch-not-divisible",
    "86-concurrent-below-batch",
}
ONLY_A_CLUSTER_KNOWS = {
    "72-expert-on-dense",
    "75-url-without-v1",
    "a2-no-namespace-exists",
    "runtime-dbs-missing",
    "runtime-endpoint-down",
    "runtime-keys-wrong",
    "runtime-model-not-there",
    "runtime-no-gpus",
    "runtime-no-keys",
    "runtime-prio-missing",
    "runtime-quota",
    "runtime-secret-missing",
    "runtime-swapped-files",
    "runtime-tensor2",
}


@pytest.mark.skipif(not CASES.is_dir(), reason="cases not found next to the checkout or SEA_CASES")
def test_the_collected_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Jobs as people got them wrong; those of `ONLY_A_CLUSTER_KNOWS` stall the job there."""
    wrong = {}
    for case in sorted(CASES.glob("*.yaml")):
        file = tmp_path / case.name
        file.write_text(
            case.read_text()
            .replace("type: Sft\n", "type: SFT\n")
            .replace("type: Rl\n", "type: RL\n")
        )
        code = main(["job", "check", str(file)])
        out = capsys.readouterr().out
        fine = case.stem in ACCEPTED | WARNED | ONLY_A_CLUSTER_KNOWS
        if (code == 0) != fine or ("warning: " in out) != (case.stem in WARNED):
            wrong[case.stem] = out
    assert wrong == {}
