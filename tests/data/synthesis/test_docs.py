"""docs/synthesis.md is true: its stage is valid, its numbers are the code's."""

import re
from pathlib import Path

import yaml

from sea_api.v1alpha1.stages import Stage
from sea_data.synthesis import journal_archive
from sea_data.synthesis.agents import model_client
from sea_data.synthesis.run_state import RunSettings

PAGE = (Path(__file__).parents[3] / "docs" / "synthesis.md").read_text()


def test_the_stage_is_valid_and_names_every_field() -> None:
    found = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    (given,) = yaml.safe_load(found[1])
    stage = Stage.model_validate(given)
    assert stage.synthesis is not None
    assert set(given["synthesis"]) == set(stage.synthesis.model_dump(by_alias=True))
    assert stage.synthesis.endpoint is not None
    assert set(given["synthesis"]["endpoint"]) == set(
        stage.synthesis.endpoint.model_dump(by_alias=True)
    )


def test_numbers() -> None:
    settings = RunSettings("shop", 1)
    assert (settings.attempts, settings.max_failures) == (4, 8)
    assert "at most four items per task that it is to add, plus eight" in PAGE
    assert "after eight failures" in PAGE
    assert journal_archive.UPLOAD_SECONDS == 10
    assert journal_archive.UPLOAD_BYTES == 1 << 20
    assert "every 10 s, or after each MiB" in PAGE
    assert model_client.MAX_TRIES == 3
    assert "is asked three times" in PAGE
