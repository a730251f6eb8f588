"""Episodes in which the agent never spoke, and what a lease says about scoring."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from sea_env.verify.sandbox.limits import FunctionLimits
from sea_runtime.coordinator import heartbeats, rollouts, troubles
from sea_runtime.coordinator.data.problems import RowProblem
from sea_runtime.coordinator.data.rows import require_verifiable, task_row
from sea_runtime.coordinator.ledger import batches
from sea_runtime.rollout.scoring import limits_of
from sea_runtime.wire.rollouts import Batch, LeaseRequest, Trajectory
from sea_testing.coordinator import inprocess as kit

SILENT = Trajectory.pack([], [], [], [])


@pytest.fixture
def core(tmp_path: Path) -> Any:
    spec = kit.spec(trajectoriesPerPrompt=2, maxRepeats=4)
    functions = {"cpuSeconds": 9, "timeoutSeconds": 90, "memoryBytes": 1 << 30}
    judge = {"url": "http://judge/v1", "model": "m", "timeoutSeconds": 7}
    spec = type(spec).model_validate(
        {**spec.model_dump(by_alias=True), "verifier": {"judge": judge, "functions": functions}}
    )
    opened = kit.coordinator(tmp_path, kit.desired(spec), kit.Clock())
    heartbeats.heard(opened, kit.beat("w", "rollout", "a", adopted=0))
    return opened


def lease(core: Any, want: int) -> Any:
    return rollouts.lease(core, LeaseRequest(pod="w", incarnation="a", want=want)).leases


def silent(given: Any, reward: float, turns: int = 0) -> Any:
    spoken = kit.result(given, "w", "a", reward)
    return msgspec.structs.replace(spoken, trajectory=SILENT, generated_tokens=0, turns=turns)


def test_a_user_that_hangs_up_first_costs_no_retry_and_the_group_counts(core: Any) -> None:
    first, second = lease(core, 2)
    assert first.group_id == second.group_id
    assert rollouts.result(core, silent(first, 0.0))
    assert rollouts.result(core, kit.result(second, "w", "a", 1.0))
    states = core.db.rows("SELECT state, failures, mean_version FROM episodes")
    assert [tuple(row) for row in states][:2] == [("Done", 0, None), ("Done", 0, 0.0)]
    group = core.db.row("SELECT state, mean_reward FROM groups WHERE id = ?", first.group_id)
    assert tuple(group) == ("Admitted", 0.5)
    assert batches.assign(core.db, "rl", 1, 1, 0, 1000.0)
    batch = msgspec.msgpack.decode(batches.encode(core.db, "rl", 1), type=Batch)
    assert batch.groups[0].rewards == [0.0, 1.0]
    assert [len(t.token_ids()) for t in batch.groups[0].trajectories] == [0, 2]


def test_a_group_in_which_nobody_spoke_is_dropped_like_any_constant_one(core: Any) -> None:
    first, second = lease(core, 2)
    for given in (first, second):
        assert rollouts.result(core, silent(given, 0.0))
    group = core.db.row("SELECT state FROM groups WHERE id = ?", first.group_id)
    assert tuple(group) == ("Filtered",)
    assert troubles.of_stage(core.db, "rl") is None


def test_turns_without_tokens_are_still_a_fault(core: Any) -> None:
    first, _ = lease(core, 2)
    assert rollouts.result(core, silent(first, 0.0, turns=2))
    row = core.db.row("SELECT state, error FROM episodes WHERE failures = 1")
    assert row["state"] == "Pending"
    assert "no generated token, but 2 turn(s)" in row["error"]


def test_a_lease_names_judge_loop_limit_and_limits_of_functions(core: Any) -> None:
    (given,) = lease(core, 1)
    assert given.max_repeats == 4
    assert limits_of(given.functions) == FunctionLimits(9, 90.0, 1 << 30)
    assert (given.judge.url, given.judge.model, given.judge.timeout_seconds) == (
        "http://judge/v1",
        "m",
        7,
    )


def test_a_task_for_a_judge_is_a_bad_row_without_one() -> None:
    criteria = {"nl_assertions": ["Was kind."], "reward_basis": ["NL_ASSERTION"]}
    raw = {"id": "shop_1", "evaluation_criteria": criteria}
    row = task_row("f", 3, raw, ["shop"], None)
    require_verifiable(row, judged=True)
    with pytest.raises(RowProblem, match=r"f line 3: .*spec\.verifier\.judge") as caught:
        require_verifiable(row, judged=False)
    assert caught.value.problem.reason == "NotVerifiable"


def test_a_user_that_is_gone_is_told_although_a_group_had_verdicts_before(core: Any) -> None:
    """A group that failed with one judged episode in it must not hide all that follows."""
    first, second = lease(core, 2)
    assert rollouts.result(core, kit.result(first, "w", "a", 1.0))
    lost = second
    for _ in range(5):
        assert rollouts.result(core, kit.result(lost, "w", "a", None))
        (lost,) = lease(core, 1)
    assert core.db.value("SELECT state FROM groups WHERE id = ?", first.group_id) == "Failed"
    for _ in range(troubles.IN_A_ROW):
        assert rollouts.result(core, kit.result(lost, "w", "a", None))
        (lost,) = lease(core, 1)
    problem = troubles.of_stage(core.db, "rl")
    assert problem is not None
    assert "The engine died." in problem.message
    assert rollouts.result(core, kit.result(lost, "w", "a", 1.0))
    assert troubles.of_stage(core.db, "rl") is None
