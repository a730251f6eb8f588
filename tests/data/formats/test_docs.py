"""The readers accept the examples of docs/data-formats.md."""

import json
import re
from pathlib import Path

import pytest

from sea_data.formats import rl
from sea_data.formats.dialogue import dialogue
from sea_env.domains import registry


@pytest.fixture(scope="module")
def examples(root: Path) -> dict[str, str]:
    text = (root / "docs" / "data-formats.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^```json (\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


def test_the_examples_are_read(examples: dict[str, str]) -> None:
    found = dialogue(json.loads(examples["sft"]))
    assert found.messages[2]["thinking"] == "I need the order."
    assert found.messages[-1]["thinking"] == "Ask first."
    task = rl.task(json.loads(examples["rl"]))
    assert task.criteria.actions[0].name == "cancel_pending_order"
    registry.get("retail").parse(examples["database"].encode(), "x.json")
