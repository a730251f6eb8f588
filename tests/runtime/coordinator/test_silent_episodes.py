"""Episodes in which the agent never spoke, and what a lease says about scoring."""

from pathlib import Path

import msgspec
import pytest

from sea_env.episodes.limits import Stop, never_asked
from sea_env.verify.sandbox.limits import FunctionLimits
from sea_runtime.coordinator import stage_controller
from sea_runtime.coordinator.app import Components
from sea_runtime.coordinator.errors import BadRowError
from sea_runtime.coordinator.ledger import batches
from sea_runtime.coordinator.task_rows import require_verifiable, task_row
from sea_runtime.rollout.scoring import limits_of
from sea_runtime.wire.rollouts import Batch, EpisodeResult, Lease, LeaseRequest, Trajectory
from sea_testing.coordinator import inprocess as kit

SILENT = Trajectory.pack([], [], [], [])


@pytest.fixture
def core(tmp_path: Path) -> Components:
    spec = kit.spec(trajectoriesPerPrompt=3, maxRepeats=4)
    functions = {"cpuSeconds": 9, "timeoutSeconds": 90, "memoryBytes": 1 << 30}
    judge = {"url": "http://judge/v1", "model": "m", "timeoutSeconds": 7}
    spec = type(spec).model_validate(
        {**spec.model_dump(by_alias=True), "verifier": {"judge": judge, "functions": functions}}
    )
    opened = kit.coordinator(tmp_path, kit.desired(spec), kit.Clock())
    opened.heartbeats.heard(kit.beat("w", "rollout", "a", adopted=0))
    return opened


def lease(core: Components, want: int) -> list[Lease]:
    found = core.scheduler.lease(LeaseRequest(pod="w", incarnation="a", want=want))
    assert found is not None
    return found.leases


def silent(given: Lease, turns: int = 0) -> EpisodeResult:
    """The report of an episode that the user ended first."""
    spoken = kit.result(given, "w", "a", None)
    return msgspec.structs.replace(
        spoken, error=never_asked(Stop.USER_STOP), stop="UserStop", generated_tokens=0, turns=turns
    )


def test_a_user_that_hangs_up_first_has_no_verdict_and_costs_no_retry(core: Components) -> None:
    """The group goes on with the others; the batch says how many there were."""
    first, second, third = lease(core, 3)
    assert core.scheduler.result(silent(first))
    assert core.scheduler.result(silent(first)), "sent again: acknowledged, not counted twice"
    assert core.scheduler.result(kit.result(second, "w", "a", 1.0))
    assert core.scheduler.result(kit.result(third, "w", "a", 0.0))
    states = core.ledger.db.rows("SELECT state, failures, reward FROM episodes LIMIT 3")
    assert [tuple(row) for row in states] == [("Failed", 0, None), ("Done", 0, 1), ("Done", 0, 0)]
    sql = "SELECT state, mean_reward FROM groups WHERE id = ?"
    group = kit.some(core.ledger.db.row(sql, first.group_id))
    assert tuple(group) == ("Admitted", 0.5)
    assert batches.assign(core.ledger.db, "rl", 1, 1, 0, 1000.0)
    batch = msgspec.msgpack.decode(kit.whole(batches.fixed(core.ledger.db, "rl", 1)), type=Batch)
    assert batch.groups[0].rewards == [1.0, 0.0]
    assert len(batch.groups[0].trajectories) == 2
    assert batch.never_asked == 1


def test_groups_in_which_the_agent_never_spoke_are_dropped_and_reported(core: Components) -> None:
    for _ in range(6):
        for given in lease(core, 3):
            assert core.scheduler.result(silent(given))
    states = {row["state"] for row in core.ledger.db.rows("SELECT state FROM groups")}
    assert states == {"Filtered"}
    problem = kit.some(stage_controller.without_verdict(core.ledger.db, "rl"))
    assert "The agent never had a turn: the user ended the dialogue first" in problem.message


def test_turns_without_tokens_are_run_again(core: Components) -> None:
    first = lease(core, 1)[0]
    spoken = msgspec.structs.replace(
        kit.result(first, "w", "a", 0.0),
        trajectory=SILENT.encode(),
        generated_tokens=0,
        turns=2,
        mean_version=None,
    )
    assert core.scheduler.result(spoken)
    row = kit.some(core.ledger.db.row("SELECT state, error FROM episodes WHERE failures = 1"))
    assert row["state"] == "Pending"
    assert "no generated token, but 2 turn(s)" in row["error"]


def test_a_lease_names_judge_loop_limit_and_limits_of_functions(core: Components) -> None:
    (given,) = lease(core, 1)
    assert given.max_repeats == 4
    assert limits_of(given.functions) == FunctionLimits(9, 90.0, 1 << 30)
    judge = kit.some(given.judge)
    assert (judge.url, judge.model, judge.timeout_seconds) == (
        "http://judge/v1",
        "m",
        7,
    )


def test_a_task_for_a_judge_is_a_bad_row_without_one() -> None:
    criteria = {"nl_assertions": ["Was kind."], "reward_basis": ["NL_ASSERTION"]}
    raw = {"id": "shop_1", "evaluation_criteria": criteria}
    row = task_row("f", 3, raw, ["shop"], None)
    require_verifiable(row, judged=True)
    with pytest.raises(BadRowError, match=r"f line 3: .*spec\.verifier\.judge") as caught:
        require_verifiable(row, judged=False)
    assert caught.value.problem.reason == "NotVerifiable"


def test_a_user_that_is_gone_is_reported_although_a_group_had_verdicts_before(
    core: Components,
) -> None:
    """A group that failed with one judged episode in it must not hide all that follows."""
    first, second, _ = lease(core, 3)
    assert core.scheduler.result(kit.result(first, "w", "a", 1.0))
    lost = second
    for _ in range(5):
        assert core.scheduler.result(kit.result(lost, "w", "a", None))
        (lost,) = lease(core, 1)
    assert core.ledger.db.value("SELECT state FROM groups WHERE id = ?", first.group_id) == "Failed"
    for _ in range(stage_controller.IN_A_ROW):
        assert core.scheduler.result(kit.result(lost, "w", "a", None))
        (lost,) = lease(core, 1)
    problem = stage_controller.without_verdict(core.ledger.db, "rl")
    assert problem is not None
    assert "The engine died." in problem.message
    assert core.scheduler.result(kit.result(lost, "w", "a", 1.0))
    assert stage_controller.without_verdict(core.ledger.db, "rl") is None
