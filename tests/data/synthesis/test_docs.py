"""docs/synthesis.md holds what runs: its stage is valid, its numbers are the code's."""

import re
from pathlib import Path

import yaml

from sea_api.v1alpha1.stages import Stage
from sea_data.synthesis import keeping
from sea_data.synthesis.agents import asking
from sea_data.synthesis.settings import Settings

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
    settings = Settings("shop", 1)
    assert (settings.attempts, settings.patience) == (4, 8)
    assert "at most four items a wanted task (and eight)" in PAGE
    assert "after eight failures" in PAGE
    assert keeping.EVERY_S == 10
    assert keeping.PIECE == 1 << 20
    assert "every 10 s, or with every MiB" in PAGE
    assert asking.TRIES == 3
    assert "is asked for three times" in PAGE
