"""tau2-bench's files become a job's data: tasks, solvable dialogues, database, policy."""

import json
from pathlib import Path

import pytest

from sea_cli import main
from sea_data.formats import rl, sft
from sea_data.tiny_model import tokenizer
from sea_env.domains import registry
from sea_env.tasks.task import Task
from sea_env.tokens.renderer import Renderer
from sea_env.verify.verdict import check_verifiable
from sea_testing.tau2 import DATA, needs_data


def convert(out: Path, *options: str) -> list[Task]:
    arguments = [
        "data",
        "tau2",
        "--domain",
        "retail",
        "--data",
        str(DATA / "retail"),
        "--out",
        str(out),
    ]
    assert main([*arguments, *options]) == 0
    lines = (out / "rl.jsonl").read_bytes().splitlines()
    return [task for task in rl.read(lines, "rl.jsonl") if isinstance(task, Task)]


@needs_data
def test_tasks_for_a_judge_are_left_out_unless_told_otherwise(tmp_path: Path) -> None:
    assert len(convert(tmp_path / "a")) == 45
    judged = convert(tmp_path / "j", "--judge")
    assert (len(judged), sum(bool(task.criteria.nl_assertions) for task in judged)) == (74, 29)
    tasks = convert(tmp_path / "b", "--drop-nl-assertions")
    assert len(tasks) == 74
    for task in tasks:
        check_verifiable(task)
        assert (tmp_path / "b" / str(task.db_path)).is_file()


@needs_data
def test_every_dialogue_earns_its_reward_and_grows_by_exact_prefixes(tmp_path: Path) -> None:
    convert(tmp_path, "--drop-nl-assertions")
    lines = (tmp_path / "sft.jsonl").read_bytes().splitlines()
    assert {json.loads(line)["metadata"]["reward"] for line in lines} == {1.0}
    dialogues = sft.load([("sft.jsonl", lines)]).dialogues
    assert len(dialogues) == 74
    policy = (tmp_path / "databases" / "retail_policy.md").read_text()
    assert dialogues[0].messages[0]["content"] == registry.get("retail").system_prompt(policy)
    renderer = Renderer(tokenizer.train(tokenizer.texts([dialogues[0].messages]), 600))
    for dialogue in dialogues[:10]:
        ids, mask = renderer.dialogue(dialogue.messages)
        assert len(ids) == len(mask)
        for end, message in enumerate(dialogue.messages):
            if message["role"] == "assistant":
                prefix, _ = renderer.dialogue(dialogue.messages[: end + 1])
                assert ids[: len(prefix)] == prefix


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({}, "no db.json or db.toml"),
        ({"db.json": "{"}, "db.json isn't valid JSON"),
        ({"db.json": '{"users":{},"orders":{},"products":{}}'}, "no policy.md"),
        (
            {"db.json": '{"users":{},"orders":{},"products":{}}', "policy.md": "P"},
            "no tasks.json",
        ),
        (
            {
                "db.toml": "[users]\n[orders]\n[products]\n",
                "policy.md": "P",
                "tasks.json": '[{"id": "1"}, 3]',
            },
            "task 2",
        ),
    ],
)
def test_an_incomplete_folder_says_what_is_missing(
    tmp_path: Path,
    files: dict[str, str],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    arguments = ["--domain", "retail", "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(["data", "tau2", *arguments]) == 1
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
