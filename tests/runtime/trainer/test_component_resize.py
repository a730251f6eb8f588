"""A trainer of another size resumes from the checkpoint: its state is resharded on load."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from sea_runtime.wire.trainer import TrainerTask
from sea_testing.fake_coordinator import FakeCoordinator
from sea_testing.ranks import Ranks

pytestmark = pytest.mark.component

SAVED_EVERY, STEPS = 2, 20
STAGE = {
    "type": "SFT",
    "sft": {"batchSize": 16, "learningRate": 2e-3, "epochs": 2, "maxSteps": STEPS},
}
SIZES = (2, 1, 2)


@pytest.fixture
def teams(tmp_path: Path, coordinator: FakeCoordinator) -> Iterator[list[Ranks]]:
    """One team of ranks per size, each with its own pods."""
    made = []
    for number, size in enumerate(SIZES):
        folder = tmp_path / f"team-{number}"
        folder.mkdir()
        made.append(Ranks(folder, coordinator.url, size))
    yield made
    for team in made:
        team.kill()


def _newest(coordinator: FakeCoordinator) -> int:
    return max((one.step for one in coordinator.committed), default=0)


def _killed_after_a_checkpoint(team: Ranks, coordinator: FakeCoordinator) -> None:
    """Kills the team after a commit and at least one reported step beyond it.

    A checkpoint is postponed until the next is due at most: when the report of a step after the
    third is held, the first is committed.
    """
    before = _newest(coordinator)
    held = before + 3 * SAVED_EVERY + 1
    coordinator.hold_from = held
    team.start(coordinator.attempt)
    team.wait("the steps before", lambda: [r for r in coordinator.progress if r.step == held - 1])
    team.wait("a checkpoint", lambda: _newest(coordinator) > before)
    team.kill()
    coordinator.hold_from = None


def test_fewer_pods_and_more_resume_where_the_others_were(
    base: Path,
    coordinator: FakeCoordinator,
    teams: list[Ranks],
    make_task: Callable[..., TrainerTask],
) -> None:
    """Half as many ranks, and then twice as many, see the losses that those before saw."""
    # Replicas of the whole model: a layout that one process admits as well as two.
    trainer = {"replicas": 2, "gpusPerPod": 0}
    saved = {"everySteps": SAVED_EVERY}
    coordinator.task = make_task("resize", STAGE, checkpoint=saved, trainer=trainer)
    losses: list[dict[int, float]] = []
    for attempt, team in enumerate(teams, start=1):
        coordinator.attempt = attempt
        coordinator.progress.clear()
        before = _newest(coordinator)
        if attempt < len(teams):
            _killed_after_a_checkpoint(team, coordinator)
        else:
            team.start(attempt)
            team.wait("the end of the stage", lambda: coordinator.done)
        losses.append({row.step: row.metrics["loss"] for row in coordinator.progress})
        assert min(losses[-1]) == before + 1
    assert max(losses[-1]) == STEPS
    for one, other in pairwise(losses):
        common = sorted(one.keys() & other.keys())
        assert common
        assert [other[step] for step in common] == pytest.approx(
            [one[step] for step in common], abs=1e-5
        )
