"""The same resources before both judges: pydantic and the real API server must agree on each."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from sea_testing.fixture_types import BuildJob, Judge

Case = dict[str, Any]


def _cases() -> list[Any]:
    files = sorted((Path(__file__).parent / "cases").glob("*.yaml"))
    return [
        pytest.param(case, id=f"{file.stem}: {case['name']}")
        for file in files
        if file.stem != "base"
        for case in yaml.safe_load(file.read_text())
    ]


def _expect(case: Case, objection: str | None) -> None:
    if "at" not in case and "refused" not in case:
        assert objection is None
        return
    assert objection is not None, "accepted, but it must be refused"
    assert case.get("refused", "") in objection


@pytest.mark.parametrize("case", _cases())
def test_models(case: Case, job: BuildJob, models: Judge) -> None:
    """The models accept or refuse the case, with the sentence and the field that it names."""
    old = job(case["old"]) if "old" in case else None
    objection = models(job(case.get("patch")), old)
    _expect(case, objection)
    if objection and old is None:
        assert case.get("at", "") in objection


@pytest.mark.cluster
@pytest.mark.parametrize("case", _cases())
def test_server(case: Case, job: BuildJob, server: Judge) -> None:
    """So does the API server."""
    old = job(case["old"]) if "old" in case else None
    objection = server(job(case.get("patch")), old)
    _expect(case, objection)
    if objection:
        assert case.get("at", "") in objection
        assert "evaluating rule" not in objection, "a rule broke instead of being broken"
