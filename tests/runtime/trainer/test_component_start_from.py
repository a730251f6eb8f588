"""A run goes on from another run's checkpoint (`spec.startFrom`) as that one would have."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sea_runtime.store.s3 import ObjectStore
from sea_runtime.wire.trainer import Origin, TrainerTask
from sea_testing.fake_coordinator import FakeCoordinator
from sea_testing.ranks import Ranks

pytestmark = pytest.mark.component

STEPS, SAVED = 6, 3
STAGE = {
    "type": "SFT",
    "sft": {"batchSize": 8, "learningRate": 2e-3, "epochs": 1, "maxSteps": STEPS},
}
ONE_POD = {"replicas": 1, "gpusPerPod": 0}


def _objects(store: ObjectStore, run_url: str) -> dict[str, str]:
    found = store.list(f"{run_url}/")
    return {one.url: store.get_with_etag(one.url)[1] for one in found}


def test_losses_go_on_as_the_other_run_s(
    base: Path,
    store: ObjectStore,
    coordinator: FakeCoordinator,
    make_task: Callable[..., TrainerTask],
    tmp_path: Path,
) -> None:
    """With optimizer and place in the data; nothing of the other run is written."""

    def train(name: str, origin: Origin | None) -> dict[int, float]:
        folder = tmp_path / name
        folder.mkdir()
        coordinator.progress.clear()
        coordinator.committed.clear()
        coordinator.done.clear()
        saved = {"everySteps": SAVED}
        task = make_task(name, STAGE, checkpoint=saved, trainer=ONE_POD)
        coordinator.task = task.model_copy(update={"origin": origin})
        ranks = Ranks(folder, coordinator.url, 1)
        try:
            ranks.start(coordinator.attempt)
            ranks.wait("the end of the stage", lambda: coordinator.done)
        finally:
            ranks.kill()
        return {row.step: row.metrics["loss"] for row in coordinator.progress}

    undisturbed = train("first-run", None)
    before = _objects(store, "s3://runs/first-run")
    losses = train("second-run", Origin(run_url="s3://runs/first-run", step=SAVED))
    assert sorted(losses) == list(range(SAVED + 1, STEPS + 1))
    expected = [undisturbed[step] for step in sorted(losses)]
    assert list(losses.values()) == pytest.approx(expected, abs=1e-5)
    assert _objects(store, "s3://runs/first-run") == before
    assert all("second-run/" in one.manifest_key for one in coordinator.committed)
    assert max(one.step for one in coordinator.committed) == STEPS
