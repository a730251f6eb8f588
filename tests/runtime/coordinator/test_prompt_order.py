"""Which prompts and seeds a stage draws: an RL stage goes on where the one before it stopped."""

from pathlib import Path
from typing import Any

import pytest

from sea_runtime.coordinator.ledger.groups import GroupFilter
from sea_runtime.coordinator.stage_plan import group_filter
from sea_runtime.wire.rollouts import Lease, LeaseRequest
from sea_testing.coordinator import inprocess as kit

BLOCK = {
    "steps": 3,
    "promptsPerStep": 2,
    "trajectoriesPerPrompt": 2,
    "maxConcurrentGroups": 4,
    "maxStaleness": 9,
}
STAGES = [{"name": name, "type": "RL", "rl": BLOCK} for name in ("first", "second")]


def drawn(folder: Path, stage: int, *, before: int = 0) -> list[Lease]:
    """Leases of four groups of a stage whose predecessor drew `before` prompts."""
    folder.mkdir()
    spec = kit.spec(STAGES)
    core = kit.coordinator(folder, kit.desired(spec, stage=stage), kit.Clock())
    db = core.ledger.db
    with db.transaction():
        db.run("UPDATE stages SET cursor = ? WHERE name = 'first'", before)
    if core.job.first_version():
        core.weights.publish(kit.version(core.job.first_version()))
    core.heartbeats.heard(kit.beat("w", "rollout", "a", adopted=core.job.first_version()))
    found = core.scheduler.lease(LeaseRequest(pod="w", incarnation="a", want=8))
    assert found is not None
    return found.leases


def test_two_rl_stages_draw_one_order_of_prompts(tmp_path: Path) -> None:
    """Of five prompts in a shuffled epoch the second stage began with the same ones again."""
    first = [lease.task["id"] for lease in drawn(tmp_path / "a", 0)][::2]
    assert len(set(first)) == 4
    later = [lease.task["id"] for lease in drawn(tmp_path / "b", 1, before=4)][::2]
    assert later[0] not in first, "the fifth prompt of the epoch comes next"
    again = [lease.task["id"] for lease in drawn(tmp_path / "c", 1)][::2]
    assert again == first, "without prompts drawn before, the order begins at its beginning"


def test_no_two_episodes_of_two_stages_share_a_seed(tmp_path: Path) -> None:
    both = drawn(tmp_path / "a", 0) + drawn(tmp_path / "b", 1, before=4)
    assert len({lease.seed for lease in both}) == len(both) == 16


@pytest.mark.parametrize(
    ("rl", "rewards", "dropped"),
    [
        ({}, [0.0, 0.0], True),
        ({}, [0.0, 1.0], False),
        ({}, [], True),
        ({"filterConstantGroups": False}, [0.0, 0.0], False),
        ({"filterConstantGroups": False}, [], True),
        ({"filterConstantGroups": False, "maxMeanReward": 0.95}, [1.0, 1.0], True),
        ({"filterConstantGroups": False, "maxMeanReward": 0.95}, [0.9, 1.0], False),
        ({"maxMeanReward": 0.5}, [0.0, 1.0], False),
        ({"maxMeanReward": 0.49}, [0.0, 1.0], True),
    ],
)
def test_which_groups_are_dropped(rl: dict[str, Any], rewards: list[float], dropped: bool) -> None:
    assert group_filter(kit.spec(**rl), "rl").drops(rewards) is dropped


def test_the_dialogues_are_kept_as_the_stage_says() -> None:
    assert group_filter(kit.spec(), "rl").keep_dialogues
    assert not group_filter(kit.spec(savedRollouts=0.0), "rl").keep_dialogues
    assert group_filter(kit.spec(), "none") == GroupFilter(constant=False)
