"""When groups with zero advantage become a problem, and what its message says."""

from pathlib import Path

import pytest

from sea_runtime.coordinator.zero_advantage import Seen, enough, nothing_kept, problem
from sea_runtime.wire.rollouts import LeaseRequest
from sea_testing.coordinator import inprocess as kit

MOST = 16

F, A, C = "Filtered", "Admitted", "Covered"
KEPT = [
    ("too few", [F] * 15, 4, False),
    ("enough", [F] * 16, 4, True),
    ("enough for a larger batch", [F] * 20, 5, True),
    ("not enough for a larger batch", [F] * 19, 5, False),
    ("the newest was kept", [A] + [F] * 15, 4, False),
    ("the oldest of them was kept", [F] * 15 + [C], 4, False),
    ("one was kept long ago", [F] * 16 + [C], 4, True),
]


@pytest.mark.parametrize(("_", "newest", "prompts", "told"), KEPT, ids=[row[0] for row in KEPT])
def test_only_enough_dropped_groups_in_a_row_are_a_problem(
    _: str, newest: list[str], prompts: int, told: bool
) -> None:
    assert nothing_kept(newest, prompts) is told


TABLE = [
    (
        "the user always hangs up first",
        Seen(16, [], {"UserStop": 64}, 64),
        ["last 16 groups", "no episode", "In 100 %", "UserStop (100 %)", "UserSFT", "userModel"],
    ),
    (
        "too hard",
        Seen(16, [0.0] * 16, {"MaxTurns": 16, "UserStop": 48}, 8),
        ["all 0.", "In 12 % of their 64", "UserStop (75 %)", "too hard", "easier tasks"],
    ),
    (
        "solved",
        Seen(20, [1.0] * 20, {"UserStop": 80}, 0),
        ["last 20 groups", "all 1.", "In 0 %", "solves these tasks already", "harder"],
    ),
    (
        "either always or never",
        Seen(16, [1.0] * 4 + [0.0] * 12, {"UserStop": 64}, 0),
        ["12 groups with 0, 4 with 1.", "raise rl.trajectoriesPerPrompt or rl.temperature"],
    ),
    *(
        (f"most end with {end}", Seen(16, [0.0] * 16, {end: 200, "UserStop": 56}, 0), words)
        for end, words in {
            "ContextFull": ["don't fit", "model.contextLength", "maxTokensPerTurn"],
            "TurnTooLong": ["turns are cut off", "raise the stage's maxTokensPerTurn"],
            "MaxTurns": ["raise the stage's maxTurns"],
            "MaxMessages": ["raise the stage's maxMessages"],
            "BadFormat": ["can't be read", "model.toolFormat"],
            "ToolErrors": ["calls are refused again and again"],
            "Loop": ["repeats itself", "maxRepeats"],
            "UserStuck": ["never speaks", "spec.userModel"],
        }.items()
    ),
]


@pytest.mark.parametrize(("_", "seen", "words"), TABLE, ids=[row[0] for row in TABLE])
def test_the_message_advises_by_what_was_seen(_: str, seen: Seen, words: list[str]) -> None:
    found = problem("rl", seen)
    assert found.reason == "NothingToLearn"
    assert [word for word in words if word not in found.message] == []


@pytest.mark.parametrize(("batch", "most"), [(1, 16), (4, 16), (5, 20), (16, 64)])
def test_how_many_are_enough_is_counted_in_batches(batch: int, most: int) -> None:
    assert enough(batch) == most


class Rollouts:
    """A worker whose rewards the test chooses, on a coordinator in this process."""

    def __init__(self, folder: Path) -> None:
        spec = kit.spec(steps=100, promptsPerStep=2, trajectoriesPerPrompt=2)
        self.core = kit.coordinator(folder, kit.desired(spec), kit.Clock())
        self.core.heartbeats.heard(kit.beat("w", "rollout", "a", adopted=0))

    def group(self, rewards: tuple[float, float]) -> None:
        request = LeaseRequest(pod="w", incarnation="a", want=2)
        found = self.core.scheduler.lease(request)
        assert found is not None
        for lease, reward in zip(found.leases, rewards, strict=True):
            spoken = kit.result(lease, "w", "a", reward)
            assert self.core.scheduler.result(spoken)

    def told(self) -> str:
        self.core.controller.find_problems()
        found = self.core.state.assemble().problem
        return found.message if found else ""


def test_the_problem_is_in_the_state_until_a_group_is_kept(tmp_path: Path) -> None:
    job = Rollouts(tmp_path)
    job.group((0.0, 1.0))
    for _ in range(MOST - 1):
        job.group((0.0, 0.0))
        assert job.told() == ""
    job.group((0.0, 0.0))
    assert "In 0 % of their 32 episodes the agent never had a turn" in job.told()
    job.group((0.0, 0.0))
    assert "The last 16 groups of stage 'rl'" in job.told()
    job.group((1.0, 0.0))
    assert job.told() == ""


def test_a_stage_that_keeps_constant_groups_has_no_such_problem(tmp_path: Path) -> None:
    job = Rollouts(tmp_path)
    rl = {"steps": 100, "promptsPerStep": 20, "trajectoriesPerPrompt": 2}
    block = {**rl, "filterConstantGroups": False, "maxConcurrentGroups": 64}
    spec = kit.spec([{"name": "rl", "type": "RL", "rl": block}])
    job.core.job.adopt(kit.desired(spec, attempt=2))
    for _ in range(MOST + 1):
        job.group((0.0, 0.0))
    assert job.told() == ""
