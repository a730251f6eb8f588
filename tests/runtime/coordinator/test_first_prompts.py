"""A first prompt that never fits is reported before an engine exists."""

from pathlib import Path
from typing import Any

import pytest

from sea_data.object_store import ObjectNotFoundError
from sea_data.tiny_model import model_folder, tokenizer
from sea_env.domains import registry
from sea_runtime.coordinator import model_files, stage_plan
from sea_runtime.coordinator.data_check import CheckedData
from sea_runtime.coordinator.errors import PreconditionError
from sea_runtime.coordinator.task_rows import TaskRow
from sea_testing.coordinator import inprocess as kit

MODEL = "s3://b/base/"


class Bucket(dict[str, bytes]):
    def get(self, url: str) -> bytes:  # type: ignore[override]
        if url not in self:
            raise ObjectNotFoundError(f"There is no {url}.")
        return self[url]


@pytest.fixture
def store(tmp_path: Path) -> Any:
    """The tiny model's folder, made of the shop's policy."""
    texts = tokenizer.texts([], [registry.get("shop").system_prompt()])
    model_folder.build(texts, tmp_path, 512)
    return Bucket({MODEL + path.name: path.read_bytes() for path in tmp_path.iterdir()})


def rows(*databases: str | None) -> list[TaskRow]:
    return [TaskRow("f", i, "shop", {}, database) for i, database in enumerate(databases)]


def test_each_domain_and_database_is_looked_at_once() -> None:
    found = model_files.places(rows("s3://b/2.json", "s3://b/1.json", "s3://b/2.json", None))
    assert found == [("shop", "s3://b/1.json"), ("shop", "s3://b/2.json")]


def test_a_prompt_that_fills_the_context_is_a_sentence(store: Any) -> None:
    spec = kit.spec()
    roomy = spec.model_copy(update={"model": spec.model.model_copy(update={"context_length": 512})})
    data = CheckedData({"f": rows("s3://b/d/1.json")})
    model_files.check_data(store, roomy, {stage_plan.POLICY: MODEL}, data)
    tight = spec.model_copy(update={"model": spec.model.model_copy(update={"context_length": 16})})
    with pytest.raises(PreconditionError, match=r"domain shop .* has \d+ tokens") as caught:
        model_files.check_data(store, tight, {stage_plan.POLICY: MODEL}, data)
    assert caught.value.problem.reason == "PromptTooLong"
    assert "contextLength is 16" in caught.value.problem.message
