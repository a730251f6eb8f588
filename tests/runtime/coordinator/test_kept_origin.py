"""The checkpoint of another run that a run has begun from is chosen once (`startFrom`)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sea_runtime.coordinator import origin
from sea_runtime.coordinator.errors import PreconditionError
from sea_runtime.wire.trainer import Origin
from sea_testing.coordinator.run_histories import NEVER
from sea_testing.coordinator.run_model import Run

KEPT = "ledger/origin.json"


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """A run with two checkpoints."""
    made = Run(tmp_path / "run", NEVER)
    made.rounds_until(lambda: made.committed_step == 4, 60)
    yield made
    made.close()


def other_run(run: Run) -> origin.OtherRun:
    store: Any = run.store
    return origin.OtherRun(store, run.clock)


def test_a_coordinator_that_comes_second_takes_what_the_first_has_chosen(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one is cut off and alive; the other run has come to the step again in between."""
    first, second = run.head.checkpoints[:2]
    url, put_if = f"{run.run_url}/{KEPT}", run.store.put_if

    def late(where: str, body: bytes, etag: str | None) -> str:
        if where == url:
            run.store.objects[url] = first.model_dump_json().encode()
        return put_if(where, body, etag)

    monkeypatch.setattr(run.store, "put_if", late)
    theirs = Origin(run_url=run.run_url, step=second.step)
    found = other_run(run).fetch(run.wanted, theirs, tmp_path / "part")
    assert found.asked[1] == first
    assert first.manifest_key.removesuffix("manifest.json") in found.source


def test_a_choice_that_cannot_be_read_is_a_sentence(run: Run, tmp_path: Path) -> None:
    run.store.objects[f"{run.run_url}/{KEPT}"] = b"{"
    theirs = Origin(run_url=run.run_url, step=2)
    with pytest.raises(PreconditionError, match=r"origin\.json, which names the .* can't be read"):
        other_run(run).fetch(run.wanted, theirs, tmp_path / "part")
