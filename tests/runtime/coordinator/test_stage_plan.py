"""The coordinator's smaller pure decisions."""

from pathlib import Path
from typing import Any

import pytest

from sea_api.v1alpha1.data import ThinkingHistory
from sea_api.v1alpha1.job import Spec
from sea_env.tasks import order
from sea_runtime.coordinator import stage_plan, throughput
from sea_runtime.coordinator.ledger import progress
from sea_runtime.coordinator.ledger.database import Database, Ledger
from sea_runtime.coordinator.ledger.progress import StepRow
from sea_runtime.coordinator.throughput import Rate, StepTimes
from sea_runtime.wire.trainer import StageProgress


def spec(*stages: dict[str, Any], **changes: Any) -> Spec:
    return Spec.model_validate(
        {
            "model": {"name": "m", "source": "builtin:tiny"},
            "storage": {"url": "s3://bucket/x"},
            "domains": ["shop"],
            "data": {"sft": ["s3://bucket/sft.jsonl"], "rl": ["s3://bucket/rl.jsonl"]},
            "userModel": {"engine": "VLLM", "gpusPerPod": 0},
            "stages": list(stages),
            **changes,
        }
    )


USER = {"type": "UserSFT", "userSFT": {}}
PROGRAM: tuple[dict[str, Any], ...] = (
    {"name": "user", **USER},
    {"name": "sft", "type": "SFT", "sft": {}},
    {"name": "look", "type": "Evaluation", "evaluation": {}},
    {"name": "rl", "type": "RL", "rl": {"steps": 40, "maxStaleness": 2}},
    {"name": "end", "type": "Evaluation", "evaluation": {}},
    {"name": "more", "type": "RL", "rl": {"steps": 3}},
)


@pytest.mark.parametrize(
    ("index", "stream", "first"),
    [
        (0, "user", 0),
        (1, "policy", 0),
        (2, "policy", 1),
        (2, "user", 1),
        (3, "policy", 1),
        (4, "policy", 41),
        (5, "policy", 41),
        (6, "policy", 44),
    ],
)
def test_versions_follow_from_the_spec(index: int, stream: str, first: int) -> None:
    """SFT publishes one version, RL one a step, and the streams count apart."""
    assert stage_plan.first_version(spec(*PROGRAM), index, stream) == first


def test_a_stage_goes_on_from_the_newest_weights_of_its_model() -> None:
    """The user model's stages are no part of the policy's, and the first has the base only."""
    again = ({"name": "again", "type": "SFT", "sft": {}}, {"name": "u2", **USER})
    program = spec(*PROGRAM, *again)
    found = [stage_plan.initial_model(program, i, "s3://b/run", "BASE") for i in (0, 1, 3, 5, 6, 7)]
    exported = [f"s3://b/run/stages/{name}/export/" for name in ("sft", "rl", "more", "user")]
    assert found == ["BASE", "BASE", *exported]
    alone = spec({"name": "rl", "type": "RL", "rl": {}})
    assert stage_plan.initial_model(alone, 0, "s3://b/run", "BASE") == "BASE"


@pytest.mark.parametrize(
    ("start", "model", "first"),
    [
        (None, "s3://b/run/stages/rl/export/", 41),
        ("rl", "s3://b/run/stages/rl/export/", 41),
        ("sft", "s3://b/run/stages/sft/export/", 42),
        ("Base", "BASE", 42),
    ],
)
def test_start_from_chooses_the_weights_and_publishes_those_that_are_not_the_newest(
    start: str | None, model: str, first: int
) -> None:
    """Engines serve version 41: weights that the stage begins with instead need a number."""
    more = {**PROGRAM[5], **({"startFrom": start} if start else {})}
    program = spec(*PROGRAM[:5], more, {"name": "z", "type": "RL", "rl": {}})
    assert stage_plan.initial_model(program, 5, "s3://b/run", "BASE") == model
    assert stage_plan.first_version(program, 5) == first
    assert stage_plan.first_version(program, 6) == first + 3


def test_versions_count_the_steps_that_a_stage_ended_with() -> None:
    """`steps` was lowered to 10 while step 15 ran: versions 2 to 16 exist."""
    rl = {"name": "rl", "type": "RL", "rl": {"steps": 10}}
    program = spec(*PROGRAM[:3], rl, *PROGRAM[4:])
    assert stage_plan.first_version(program, 5) == 11
    assert stage_plan.first_version(program, 5, ended={"rl": 15}) == 16


@pytest.mark.parametrize(
    ("index", "stream", "newest", "required"),
    [
        (1, "policy", 0, 0),
        (2, "policy", 1, 1),
        (3, "policy", 1, 1),
        (3, "policy", 3, 1),
        (3, "policy", 9, 7),
        (3, "user", 1, 1),
        (4, "policy", 41, 41),
        (6, "policy", 44, 44),
    ],
)
def test_an_engine_may_lag_by_the_allowed_staleness_only(
    index: int, stream: str, newest: int, required: int
) -> None:
    """Staleness is allowed within an RL stage, and never back into the model before it."""
    program = spec(*PROGRAM)
    stage = program.stages[index] if index < len(program.stages) else None
    first = stage_plan.first_version(program, index, "policy")
    assert stage_plan.smallest_served(stage, stream, newest, first) == required


def test_every_epoch_is_another_permutation() -> None:
    """Each row once an epoch, in an order that depends on nothing but seed and epoch."""
    first = [order.row_at(i, 10, seed=3) for i in range(10)]
    second = [order.row_at(i, 10, seed=3) for i in range(10, 20)]
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert first == [order.row_at(i, 10, seed=3) for i in range(10)]
    assert first != [order.row_at(i, 10, seed=4) for i in range(10)]


def test_evaluation_takes_the_same_tasks_each_time() -> None:
    """A bounded evaluation chooses by seed and keeps the file's order."""
    chosen = order.choose(100, 10, seed=0)
    assert chosen == order.choose(100, 10, seed=0)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == 10
    assert order.choose(5, 10, seed=0) == order.choose(5, None, seed=0) == [0, 1, 2, 3, 4]


def test_sampling_seeds_differ() -> None:
    """Samples of one group never share a seed, and a seed fits into 31 bits."""
    seeds = {order.sampling_seed(0, group, sample) for group in range(50) for sample in range(16)}
    assert len(seeds) == 800
    assert all(0 <= seed < 2**31 for seed in seeds)


def row(step: int, time: float, attempt: int = 1, **metrics: float) -> StepRow:
    return StepRow(step, attempt, time, metrics)


def times(rows: list[StepRow]) -> StepTimes:
    found = StepTimes()
    for one in rows:
        found.add(one)
    return found


@pytest.mark.parametrize(
    ("rows", "end", "expected"),
    [
        ([], 10.0, None),
        # Two steps of 10 s without a pause: all time counts.
        ([row(1, 10, train_s=10), row(2, 20)], 20.0, 1.0),
        # A restart: 20 s of steps 1 and 2, 15 s lost, then step 2 again in 5 s.
        ([row(1, 10, train_s=10), row(2, 20), row(2, 40, 2, train_s=5)], 40.0, 15 / 40),
        # Time passes after the last step.
        ([row(1, 10, train_s=10)], 40.0, 0.25),
        # What ends in _per_s is a rate, not seconds.
        ([row(1, 10, train_s=10, tokens_per_s=500)], 10.0, 1.0),
        ([row(1, 10, step_s=4, train_s=10)], 12.0, 4 / 6),
    ],
)
def test_each_step_counts_once_in_goodput(
    rows: list[StepRow], end: float, expected: float | None
) -> None:
    """Steps count once; waiting, restarts and repetition don't."""
    found = times(rows).goodput(end)
    assert found == (None if expected is None else pytest.approx(expected))


def test_remaining_time_is_the_middle_pace() -> None:
    """One slow step does not change the estimate."""
    rows = [row(1, 10, train_s=10), row(2, 20), row(3, 130), row(4, 140)]
    assert times(rows).remaining_seconds(4, 10) == pytest.approx(60.0)
    assert times(rows).remaining_seconds(10, 10) == 0
    assert times([]).remaining_seconds(0, 10) is None


def test_the_rows_of_a_run_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state is asked for every second of a run of weeks; a restored ledger is read whole."""
    ledger, read = Ledger(), [0]
    steps_of = progress.steps

    def counting(*values: Any, **named: Any) -> list[StepRow]:
        found = steps_of(*values, **named)
        read[0] += len(found)
        return found

    monkeypatch.setattr(progress, "steps", counting)
    pace = throughput.Pace(ledger)
    for name, steps in (("a", 3), ("b", 1)):
        ledger.install(Database(tmp_path / name))
        for step in range(1, steps + 1):
            report = StageProgress(attempt=1, step=step, total_steps=9, metrics={"train_s": 10.0})
            progress.add(ledger.db, "rl", report, 10.0 * step)
            assert pace.of("rl").goodput(10.0 * step) == 1.0
            assert pace.of("rl").remaining_seconds(step, 9) == 10.0 * (9 - step)
        ledger.withdraw()
    assert read == [4]


def test_rate_follows_a_steady_stream_and_fades() -> None:
    """100 tokens a second read as such within seconds, and vanish when the stream does."""
    now = [0.0]
    rate = Rate(lambda: now[0])
    assert rate.per_second() is None
    for _ in range(120):
        now[0] += 1.0
        rate.add(100.0)
        if now[0] > 20:
            assert rate.per_second() == pytest.approx(100.0, rel=0.1)
    now[0] += 300.0
    assert rate.per_second() == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize(
    ("history", "stream", "strips"),
    [("Keep", "policy", False), ("Strip", "policy", True), ("Strip", "user", False)],
)
def test_thoughts_are_stripped_from_the_policys_prompts_only(
    history: str, stream: str, strips: bool
) -> None:
    """The user model keeps its own, whatever the job says of the agent's."""
    given = spec(*PROGRAM)
    model = given.model.model_copy(update={"thinking_history": ThinkingHistory(history)})
    wanted = given.model_copy(update={"model": model})
    assert stage_plan.strips_thoughts(wanted, stream) is strips
