"""Edits of a running stage on two real ranks: they hold from the next step, and may end it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sea_runtime.coordinator import stage_plan
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.wire.rollouts import Batch, Group, Trajectory
from sea_runtime.wire.trainer import TaskKind, TrainerTask
from sea_testing.fake_coordinator import FakeCoordinator
from sea_testing.ranks import Ranks

pytestmark = pytest.mark.component
MakeTask = Callable[..., TrainerTask]
SFT = {"batchSize": 8, "learningRate": 2e-3, "epochs": 9, "maxSteps": 40}


def edit(coordinator: FakeCoordinator, ranks: Ranks, task: TrainerTask) -> None:
    """Puts the task's spec in force, and returns once rank 0 knows of it."""
    generation = coordinator.task.spec_generation + 1
    changed = {"spec": task.spec, "spec_generation": generation}
    coordinator.task = coordinator.task.model_copy(update=changed)
    before = coordinator.asked
    # The second request after the edit is sent once the answer to the first was taken.
    ranks.wait("rank 0 to ask", lambda: coordinator.asked > before + 1)


def exported(store: ObjectStore, run: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(store.get(f"s3://runs/{run}/stages/stage/export/READY.json"))
    return found


def test_an_sft_stage_follows_its_block_and_ends_when_it_has_enough_steps(
    store: ObjectStore,
    base: Path,
    coordinator: FakeCoordinator,
    ranks: Ranks,
    make_task: MakeTask,
) -> None:
    """Rate and checkpoints from the very next step; then fewer steps than it has made."""
    run = "edited-sft"
    coordinator.task = make_task(run, {"type": "SFT", "sft": SFT}, checkpoint={"everySteps": 100})
    coordinator.hold_from = 3
    ranks.start(attempt=1)
    ranks.wait("two steps", lambda: len(coordinator.progress) == 2)
    slower = {**SFT, "learningRate": 1e-4, "batchSize": 4, "maxSteps": 30}
    edit(
        coordinator,
        ranks,
        make_task(run, {"type": "SFT", "sft": slower}, checkpoint={"everySteps": 4}),
    )
    coordinator.hold_from = 6
    ranks.wait("five steps", lambda: len(coordinator.progress) == 5)
    fewer = {**slower, "maxSteps": 4}
    edit(
        coordinator,
        ranks,
        make_task(run, {"type": "SFT", "sft": fewer}, checkpoint={"everySteps": 100}),
    )
    coordinator.hold_from = None
    ranks.wait("the end of the stage", lambda: coordinator.done)
    assert [row.step for row in coordinator.progress] == [1, 2, 3, 4, 5, 6]
    assert [row.spec_generation for row in coordinator.progress] == [0, 0, 0, 1, 1, 1]
    rates = [row.metrics["learning_rate"] for row in coordinator.progress]
    assert rates == [2e-3] * 3 + [1e-4] * 3
    assert [row.total_steps for row in coordinator.progress] == [40] * 3 + [30] * 3
    tokens = [row.metrics["tokens"] for row in coordinator.progress]
    assert max(tokens[3:]) < min(tokens[:3])
    assert [one.step for one in coordinator.committed] == [4, 6]
    assert (coordinator.done[0].step, coordinator.done[0].spec_generation) == (6, 2)
    assert exported(store, run)["version"] == 1
    coordinator.task = coordinator.task.model_copy(update={"kind": TaskKind.STOP})
    assert ranks.exit_codes() == [0, 0]


def two_batches(step: int) -> Batch | None:
    """Of steps 1 and 2: two groups of two trajectories."""
    rng = np.random.default_rng(0)
    rows = [list(map(int, rng.integers(10, 600, 24))) for _ in range(4)]
    trajectories = [
        Trajectory.pack(row, [0] * 12 + [1] * 12, [0.0] * 12 + [-6.5] * 12, [-1] * 12 + [0] * 12)
        for row in rows
    ]
    bodies = [one.encode() for one in trajectories]
    groups = [Group(f"g{i}", [0.0, 1.0], bodies[2 * i : 2 * i + 2]) for i in range(2)]
    return Batch("stage", step, groups, 0, 0.5) if step <= 2 else None


def test_an_rl_stage_that_waits_for_a_batch_ends_when_it_has_enough_steps(
    store: ObjectStore,
    base: Path,
    coordinator: FakeCoordinator,
    ranks: Ranks,
    make_task: MakeTask,
) -> None:
    """40 steps become 1 while it waits for the third batch; it was to end at 2 before that.

    A ledger that is restored while it waits is given the version that it may not know.
    """
    coordinator.batches = two_batches
    run, block = (
        "edited-rl",
        {"promptsPerStep": 2, "trajectoriesPerPrompt": 2, "learningRate": 1e-4},
    )

    def stage(steps: int, **more: Any) -> dict[str, Any]:
        return {"type": "RL", "rl": {**block, "steps": steps, **more}}

    coordinator.task = make_task(run, stage(1), checkpoint={"everySteps": 100})
    coordinator.hold_from = 1
    ranks.start(attempt=1)
    ranks.wait("the first step", lambda: len(coordinator.versions) == 1)
    # The stage was to end with the step whose report is held: now it goes on.
    edit(coordinator, ranks, make_task(run, stage(40, minibatches=2, clipLow=0.1)))
    coordinator.hold_from = None
    ranks.wait("the second step", lambda: len(coordinator.progress) == 2)
    assert coordinator.done == []
    published = [one for one in coordinator.versions if one.version == 2]
    coordinator.task = coordinator.task.model_copy(update={"ledger_epoch": "restored"})
    ranks.wait("version 2 again", lambda: coordinator.versions[-2:] == [*published, *published])
    edit(coordinator, ranks, make_task(run, stage(1)))
    ranks.wait("the end of the stage", lambda: coordinator.done)
    assert [row.total_steps for row in coordinator.progress] == [1, 40]
    assert (coordinator.done[0].step, coordinator.done[0].spec_generation) == (2, 2)
    assert coordinator.committed[-1].step == 2
    assert coordinator.versions[-1].version == exported(store, run)["version"] == 2


def test_a_second_sft_stage_goes_on_from_the_first(
    store: ObjectStore,
    base: Path,
    coordinator: FakeCoordinator,
    ranks: Ranks,
    make_task: MakeTask,
) -> None:
    """Its first loss is where the first stage ended, not that of the base model."""
    run, block = "two-sft", {**SFT, "maxSteps": 8}
    first = make_task(run, {"type": "SFT", "sft": block})
    assert first.spec is not None
    both = [{"name": name, "type": "SFT", "sft": block} for name in ("stage", "second")]
    second = make_task(run, both[1], stages=both).model_copy(
        update={"stage": "second", "stage_index": 1, "first_version": 1}
    )
    assert second.spec is not None
    start = stage_plan.initial_model(second.spec, 1, second.run_url, "s3://runs/base")
    coordinator.task = first
    ranks.start(attempt=1)
    ranks.wait("the first stage", lambda: coordinator.done)
    losses = [row.metrics["answer_loss"] for row in coordinator.progress]
    coordinator.task = second.model_copy(update={"initial_model": start})
    ranks.wait("the second stage", lambda: len(coordinator.done) == 2)
    again = coordinator.progress[len(losses)].metrics["answer_loss"]
    assert losses[-1] < 0.7 * losses[0]
    assert again < 0.8 * losses[0]
