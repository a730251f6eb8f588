"""Lines of episodes: written, read, and refused where they are broken."""

import json
from typing import Any

import pytest

from sea_data.errors import RowError
from sea_data.evaluation import records
from sea_data.evaluation.records import EpisodeRecord, description, from_row

FULL = EpisodeRecord(
    "shop", "shop_1", "rl.jsonl:1", 2, 99, 1.0,
    error="", stop="UserStop", turns=3, generated_tokens=40, weight_version=7.5, attempts=2,
    seconds=1.25, details={"DB": 1.0}, transcript=({"role": "user", "content": "Hi \ud800"},),
    request="Cancel.", expected={"communicate": ["x"]}, database="a/b.json",
)  # fmt: skip


def test_what_is_written_is_read() -> None:
    (found,) = records.read([FULL.to_line().encode()], "f")
    assert isinstance(found, RowError), "half of a surrogate pair is refused on the way in"
    plain = EpisodeRecord(**{**vars(FULL), "transcript": ({"role": "user", "content": "Hi"},)})
    (found,) = records.read([plain.to_line().encode()], "f")
    assert found == plain


def test_lines_of_older_coordinators_are_read() -> None:
    absent = ("task", "reward", "stop", "turns", "generatedTokens", "weightVersion")
    row: dict[str, Any] = {"row": "f:1", "domain": "shop", "trial": 0, "seed": 1, "error": "x"}
    row |= dict.fromkeys(absent)
    found = from_row(row)
    assert (found.passed, found.key, found.turns) == (None, ("shop", "f:1", 0), 0)
    assert from_row({"domain": "shop", "reward": 1}).key == ("shop", "shop/", 0)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"domain": 3}, "domain"),
        ({"reward": "1"}, "reward"),
        ({"trial": "x"}, "trial"),
        ({"turns": True}, "turns"),
        ({"details": []}, "details"),
        ({"transcript": {}}, "transcript"),
        ({"transcript": [1]}, "transcript[0]"),
        ({"transcript": [{"content": "x"}]}, "transcript[0]"),
        ({"transcript": [{"role": "user", "tool_calls": "x"}]}, "transcript[0].tool_calls"),
        ({"transcript": [{"role": "user", "tool_calls": [1]}]}, "transcript[0].tool_calls"),
    ],
)
def test_broken_lines_are_named(change: dict[str, Any], field: str) -> None:
    line = json.dumps({"domain": "shop", "reward": 1.0, **change}).encode()
    (found,) = records.read([line], "f.jsonl")
    assert isinstance(found, RowError)
    assert str(found).startswith(f"f.jsonl:1: {field}: must be")


@pytest.mark.parametrize(
    ("task", "request_text"),
    [
        ({"user_scenario": {"instructions": {"reason_for_call": "R"}}}, "R"),
        ({"user_scenario": {"instructions": "Plain."}}, "Plain."),
        ({"user_scenario": 3, "evaluation_criteria": "{"}, ""),
        ({}, ""),
    ],
)
def test_descriptions_take_any_row(task: dict[str, Any], request_text: str) -> None:
    assert description(task) == {"request": request_text, "expected": {}}
