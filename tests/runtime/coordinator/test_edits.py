"""Edits of a running job: what rank 0 is given, when a stage ends, and what the operator shows."""

from pathlib import Path
from typing import Any

import pytest

from sea_api.v1alpha1.job import Spec
from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_api.wire.state import Problem
from sea_runtime.coordinator.app import Components
from sea_runtime.coordinator.data_check import digest
from sea_runtime.coordinator.edits import Edit, When, sentence, smaller_batches
from sea_runtime.coordinator.ledger import stages
from sea_runtime.coordinator.problems import Source
from sea_runtime.wire.rollouts import LeaseRequest
from sea_runtime.wire.trainer import CheckpointCommitted, StageDone, StageProgress
from sea_testing.coordinator import inprocess as kit

PROGRAM = [
    {"name": "sft", "type": "SFT", "sft": {}},
    {"name": "rl", "type": "RL", "rl": {"steps": 40}},
    {"name": "look", "type": "Evaluation", "evaluation": {}},
    {"name": "more", "type": "RL", "rl": {}},
]


def job(**rl: Any) -> Spec:
    """The program with other settings of its second stage."""
    stages_ = [dict(stage) for stage in PROGRAM]
    stages_[1] = {**stages_[1], "rl": {"steps": 40, **rl}}
    return kit.spec(stages_)


def edited(change: dict[str, Any], spec: Spec | None = None) -> Spec:
    return Spec.model_validate({**(spec or job()).model_dump(by_alias=True), **change})


@pytest.fixture
def core(tmp_path: Path) -> Components:
    """Its RL stage runs, and its data is checked."""
    return running(tmp_path, kit.desired(job(), stage=1))


def running(folder: Path, desired: CoordinatorSpec) -> Components:
    core = kit.coordinator(folder, desired, kit.Clock())
    core.preconditions.are_checked = lambda: True  # type: ignore[method-assign]
    return core


def report(core: Components, step: int, generation: int, stage: str = "rl") -> None:
    row = StageProgress(
        attempt=1, step=step, total_steps=40, spec_generation=generation, metrics={}
    )
    core.training.report(stage, row)


def message(core: Components) -> str:
    return kit.some(core.state.assemble().edit).message


def test_rank_0_is_given_the_spec_in_force_and_its_generation(core: Components) -> None:
    assert kit.some(core.training.task(1)).spec_generation == 1
    core.job.adopt(kit.desired(job(steps=10), stage=1, generation=2))
    task = kit.some(core.training.task(1))
    assert task.spec_generation == 2
    assert kit.some(task.spec).stages[1].rl == job(steps=10).stages[1].rl


def test_ranks_keep_the_layout_of_their_attempt_until_it_is_replaced(core: Components) -> None:
    """What an edit needs new pods for is in force before they are there.

    With the newest layout the old ranks would refuse it when they open their next stage, and the
    job would stall for a right edit.
    """
    for rank in (0, 1):
        core.heartbeats.heard(kit.beat(f"job-trainer-{rank}", "trainer", "a"))
    before = kit.some(kit.some(core.training.task(1)).spec).trainer
    change = {"replicas": 3, "parallelism": {"pipeline": 3}, "maxTokensPerMicrobatch": 512}
    now = edited({"trainer": {**before.model_dump(by_alias=True), **change}})
    core.job.adopt(kit.desired(now, stage=1, generation=2))
    task = kit.some(core.training.task(1))
    assert task.spec_generation == 2
    found = kit.some(task.spec).trainer
    assert (found.replicas, found.parallelism) == (before.replicas, before.parallelism)
    assert found.max_tokens_per_microbatch == 512
    # The attempt that the operator starts with the new pods.
    core.job.adopt(kit.desired(now, stage=1, generation=2, attempt=2))
    assert kit.some(kit.some(core.training.task(2)).spec).trainer == now.trainer


def test_no_batch_comes_after_the_last_step_that_an_edit_leaves(core: Components) -> None:
    """Rank 0 is told at once, and looks at its task; before the last it waits."""
    assert core.training.batch("rl", 1, 1) is None
    with core.ledger.db.transaction():
        core.ledger.db.run("INSERT INTO batches VALUES ('rl', 15, 0, 0.5, 0.0, 1.0, 0)")
    assert core.training.batch("rl", 16, 1) is None
    core.job.adopt(kit.desired(job(steps=10), stage=1, generation=2))
    assert core.training.batch("rl", 16, 1) == b""


def test_the_next_stage_counts_its_versions_from_where_the_stage_ended(core: Components) -> None:
    """Step 15 was under way when `steps` became 10: its version exists, and 11 is not free."""
    core.job.adopt(kit.desired(job(steps=10), stage=1, generation=2))
    commit = CheckpointCommitted(attempt=1, step=15, version=16, bytes=1, manifest_key="k")
    core.training.committed("rl", commit)
    report(core, 15, 2)
    core.training.done("rl", StageDone(attempt=1, step=15))
    seen = core.state.assemble().stages[1]
    assert (seen.step, seen.total_steps) == (15, 15)
    core.job.adopt(kit.desired(job(steps=10), stage=3, generation=2))
    stages.start(core.ledger.db, "more", 1.0)
    assert kit.some(core.training.task(1)).first_version == 16


def test_the_first_step_of_the_generation_is_where_an_edit_holds_from(core: Components) -> None:
    assert core.state.assemble().edit is None
    core.job.adopt(kit.desired(job(learningRate=0.5), stage=1, generation=2))
    assert message(core) == (
        "The edit holds: stages[rl].rl.learningRate from the next step of stage 'rl' on."
    )
    report(core, 16, 1)
    assert "next step" in message(core)
    report(core, 17, 2)
    report(core, 18, 2)
    assert "stages[rl].rl.learningRate from step 17 of stage 'rl' on" in message(core)
    assert kit.some(core.state.assemble().edit).generation == 2


def test_edits_that_no_step_has_followed_yet_are_shown_together(core: Components) -> None:
    core.job.adopt(kit.desired(job(learningRate=0.5), stage=1, generation=2))
    more = edited({"checkpoint": {"everySteps": 3}}, job(learningRate=0.5))
    core.job.adopt(kit.desired(more, stage=1, generation=3))
    assert "stages[rl].rl.learningRate, checkpoint.everySteps from the next step" in message(core)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"trainer": {"replicas": 2, "gpusPerPod": 4}}, "trainer.gpusPerPod once the pods that"),
        ({"verifier": {"judge": {"url": "http://h", "model": "m"}}}, "verifier.judge from the"),
        (
            {"stages": [*PROGRAM[:3], {**PROGRAM[3], "rl": {"steps": 9}}]},
            "stages[more].rl.steps when the stage begins",
        ),
        (
            {"stages": [{**PROGRAM[0], "sft": {"epochs": 2}}, *PROGRAM[1:]]},
            "without effect, since the stage has begun or ended: stages[sft].sft.epochs",
        ),
    ],
)
def test_a_change_is_shown_by_what_it_does(
    core: Components, change: dict[str, Any], expected: str
) -> None:
    core.job.adopt(kit.desired(edited(change), stage=1, generation=2))
    assert expected in message(core)


def test_an_evaluation_keeps_what_it_was_made_from(tmp_path: Path) -> None:
    """The API server refuses such an edit once the status says that the stage has begun."""
    core = running(tmp_path, kit.desired(job(), stage=2))
    stages_ = [*PROGRAM[:2], {**PROGRAM[2], "evaluation": {"trials": 2, "maxTurns": 3}}, PROGRAM[3]]
    core.job.adopt(kit.desired(edited({"stages": stages_}), stage=2, generation=2))
    assert message(core) == (
        "The edit holds: stages[look].evaluation.maxTurns at once; without effect, since the stage"
        " has begun or ended: stages[look].evaluation.trials."
    )


def test_what_the_status_shows_by_itself_is_no_edit(core: Components) -> None:
    core.job.adopt(
        kit.desired(edited({"rollout": {"gpusPerPod": 0, "replicas": 7}}), stage=1, generation=2)
    )
    assert core.state.assemble().edit is None


def test_an_edit_waits_for_the_check_of_its_data(core: Components) -> None:
    """Rank 0 goes on with the spec before, so that a typo does not end its attempt."""
    assert kit.some(core.training.task(1)).spec_generation == 1
    core.preconditions.are_checked = lambda: False  # type: ignore[method-assign]
    core.job.adopt(kit.desired(job(learningRate=0.5), stage=1, generation=2))
    assert kit.some(core.training.task(1)).spec_generation == 1
    core.preconditions.are_checked = lambda: True  # type: ignore[method-assign]
    assert kit.some(core.training.task(1)).spec_generation == 2


def test_a_coordinator_that_restarts_hands_out_no_edit_that_it_has_not_checked(
    tmp_path: Path,
) -> None:
    """It may be the one that was found wrong before."""
    before = running(tmp_path, kit.desired(job(), stage=1))
    assert kit.some(before.training.task(1)).spec_generation == 1
    wrong = kit.desired(job(learningRate=0.5), stage=1, generation=2)
    before.job.adopt(wrong)
    before.ledger.withdraw()
    after = running(tmp_path, wrong)
    after.preconditions.are_checked = lambda: False  # type: ignore[method-assign]
    assert kit.some(after.training.task(1)).spec_generation == 1
    after.preconditions.are_checked = lambda: True  # type: ignore[method-assign]
    assert kit.some(after.training.task(1)).spec_generation == 2
    written = after.ledger.db.changes
    assert kit.some(after.training.task(1)).spec_generation == 2
    assert after.ledger.db.changes == written, "asked every second"


def test_data_counts_as_checked_until_something_is_wrong_with_it(tmp_path: Path) -> None:
    core = kit.coordinator(tmp_path, kit.desired(job(), stage=1), kit.Clock())
    assert not core.preconditions.are_checked()
    core.preconditions._digest = digest(core.job.desired, core.preconditions.made())
    assert core.preconditions.are_checked()
    core.problems.report(Source.DATA, Problem(reason="BadRow", message="Line 3."))
    assert not core.preconditions.are_checked()


def test_an_edit_that_ends_the_stage_holds_from_its_end(core: Components) -> None:
    """No step follows it: rank 0 saw that 15 are enough."""
    report(core, 15, 1)
    core.job.adopt(kit.desired(job(steps=10), stage=1, generation=2))
    core.training.done("rl", StageDone(attempt=1, step=15, spec_generation=2))
    assert "stages[rl].rl.steps from the end of stage 'rl' after step 15 on" in message(core)


def test_an_edit_that_came_too_late_for_the_stage_says_so(core: Components) -> None:
    """Rank 0 had ended the stage already; what the whole job reads holds for the next stage."""
    late = edited({"checkpoint": {"everySteps": 3}}, job(steps=50))
    core.job.adopt(kit.desired(late, stage=1, generation=2))
    core.training.done("rl", StageDone(attempt=1, step=40, spec_generation=1))
    assert message(core) == (
        "The edit holds: checkpoint.everySteps at once; without effect, since the stage has begun"
        " or ended: stages[rl].rl.steps."
    )


def test_many_fields_are_counted() -> None:
    edit = Edit(generation=2, fields={When.STEP: [f"f{i}" for i in range(11)]})
    assert sentence(edit) == "The edit holds: f0, f1, f2, f3, f4, f5, f6, f7 and 3 more at once."


@pytest.mark.parametrize(
    ("size", "waiting", "said"),
    [
        (1, 8, "8 batches of 1, of which those after the first 2"),
        (2, 8, "4 batches of 2, of which those after the first 2"),
        (2, 4, ""),
        (4, 8, ""),
        (8, 8, ""),
    ],
)
def test_smaller_batches_that_are_staler_than_allowed_are_announced(
    size: int, waiting: int, said: str
) -> None:
    before, now = (kit.spec(promptsPerStep=one, maxStaleness=1).stages[0] for one in (4, size))
    found = smaller_batches(before, now, waiting)
    assert said in found
    assert bool(found) is bool(said)


def test_the_status_says_which_batches_an_edit_makes_too_stale(tmp_path: Path) -> None:
    bounds: dict[str, Any] = {"steps": 20, "maxStaleness": 1, "maxConcurrentGroups": 100}
    core = kit.coordinator(tmp_path, kit.desired(kit.spec(promptsPerStep=4, **bounds)), kit.Clock())
    core.membership.heard(kit.beat("rollout-0", "rollout", "life", adopted=0))
    request = LeaseRequest(pod="rollout-0", incarnation="life", want=100)
    assert len(kit.some(core.scheduler.lease(request)).leases) == 16
    core.job.adopt(kit.desired(kit.spec(promptsPerStep=1, **bounds), generation=2))
    message = kit.some(core.edits.newest).message
    assert "8 groups were started for batches of 4: they make 8 batches of 1" in message
