"""Every combination of failures recovers: from each reachable state, undisturbed, the stage ends.

Parts are lost together and one after the other, at every phase of a checkpoint: the trainer's
process or pod (which may live on as a zombie, come back, or stay away while training goes on with
the other one), engines, the coordinator, its volume. A person goes back to older checkpoints. What
the parameters were trained on is followed along every checkpoint: no group is trained on twice.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sea_api.v1alpha1.stages import StageType
from sea_runtime.coordinator import origin
from sea_runtime.coordinator.errors import CoordinatorFailure, PreconditionError
from sea_runtime.coordinator.ledger import groups, progress, stages
from sea_runtime.trainer.errors import FencedError
from sea_runtime.wire.trainer import Origin
from sea_testing.coordinator import run_histories
from sea_testing.coordinator.run_histories import NEVER, ROUNDS
from sea_testing.coordinator.run_model import Run
from sea_testing.coordinator.run_parts import BATCH, STEPS


def test_every_random_history_ends_with_each_group_trained_once() -> None:
    assert run_histories.play() == len(run_histories.HISTORIES)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with closing(Run(tmp_path / "volume", NEVER)) as found:
        yield found


def test_a_new_attempt_fresh_engines_and_a_lost_volume_recover(run: Run) -> None:
    """The restored ledger knows the version of the dead attempt only; it is published again."""
    while run.head.newest is None:
        run.round()
    run.crash()
    while run.process is None or not run.process.published:
        run.round()
    run.restart_coordinator(volume_lost=True)
    for engine in run.engines:
        run.restart_engine(engine)
    for _ in range(ROUNDS):
        run.round()
    assert run.complete, str(run)


def test_a_volume_lost_before_the_first_checkpoint_recovers(run: Run) -> None:
    """The trainer has registered its version with the empty ledger, then has to go back to 0."""
    while run.process is None or run.process.step < 2:
        run.round()
    assert run.head.newest is None
    run.restart_coordinator(volume_lost=True)
    for engine in run.engines:
        run.restart_engine(engine)
    for _ in range(ROUNDS):
        run.round()
    assert run.complete, str(run)


@pytest.mark.parametrize("volume_lost", [False, True])
def test_a_damaged_newest_checkpoint_takes_ledger_and_data_back_with_it(
    run: Run, volume_lost: bool
) -> None:
    """Asked for a batch that it has covered, the ledger goes back to what head.json names."""
    while not run.damage_newest():
        run.round()
    step = run.committed_step
    while progress.last_committed(run.core.ledger.db, "rl") < step:
        run.round()
    run.crash()
    if volume_lost:
        run.restart_coordinator(volume_lost=True)
    for _ in range(ROUNDS):
        run.round()
    assert run.complete, str(run)
    rollback = run.core.state.assemble().rollback
    if not volume_lost:
        assert rollback is not None
        assert (rollback.stage, rollback.from_step, rollback.step) == ("rl", step, step - 2)
    newest = run.head.newest
    assert newest is not None
    assert len({group for one in run.saved[newest.manifest_key] for group in one}) == STEPS * BATCH


def test_a_zombie_is_refused_once_the_next_attempt_has_opened(run: Run) -> None:
    while run.process is None or run.process.step < 1:
        run.round()
    run.replace_trainer_pod(zombie=True)
    (zombie,) = run.zombies
    while run.process is None or not run.process.opened:
        run.round()
    with pytest.raises((CoordinatorFailure, FencedError)):
        run._act(zombie)


def until(run: Run, holds: Callable[[], bool]) -> None:
    for _ in range(ROUNDS):
        if holds():
            return
        run.round()
    raise AssertionError(str(run))


def test_an_attempt_that_begins_again_from_scratch_publishes_no_number_twice(run: Run) -> None:
    """A drain is taken back once training has stopped, and the head is lost meanwhile.

    Engines would wait for a version after the one that they serve, and the trainer for them.
    """
    until(run, lambda: run.reported_step == 2)
    run.drain = True
    until(run, lambda: run.process is None)
    run.lose_head()
    run.drain = False
    until(run, lambda: run.complete)
    assert run.attempt == 2
    assert len(trained_groups(run)) == STEPS * BATCH


def test_nor_does_one_that_has_only_published_what_it_resumed_from(run: Run) -> None:
    """It has reported no step, and its engines serve the version already."""
    until(run, lambda: run.committed_step >= 6)
    run.crash()
    until(run, lambda: run.process is not None and bool(run.process.published))
    process = run.process
    assert process is not None
    assert (process.attempt, process.step) == (2, process.resumed)
    run.drain = True
    until(run, lambda: run.process is None)
    run.lose_head()
    run.drain = False
    until(run, lambda: run.complete)
    assert run.attempt == 3
    assert len(trained_groups(run)) == STEPS * BATCH


def trained_groups(run: Run) -> set[str]:
    newest = run.head.newest
    assert newest is not None
    return {group for one in run.saved[newest.manifest_key] for group in one}


@pytest.mark.parametrize("killed", ["nothing", "after the head", "volume", "later, volume"])
def test_a_run_goes_back_to_the_checkpoint_that_is_asked_for_once(run: Run, killed: str) -> None:
    """Whatever is lost on the way: ledger, weights, engines and data go back together."""
    until(run, lambda: run.committed_step == 6)
    first = run.head.checkpoints[0]
    assert first.step == 4
    before = run.saved[first.manifest_key]
    run.ask_to_go_back(4)
    until(run, lambda: run.order is not None and run.order.attempt is not None)
    order = run.order
    assert order is not None
    if killed == "after the head":
        run.core.job.request(run.wanted)
        run.core.rollbacks._write_head(run.core.job.desired, order, run.attempt)
    if killed in ("after the head", "volume"):
        run.restart_coordinator(volume_lost=killed == "volume")
        # What the old ledger fixed after the checkpoint is drawn again.
        run.fixed.clear()
    until(run, lambda: len(run.requests) == 1)
    assert run.requests[0].done
    assert run.head.newest == first
    went = run.core.state.assemble().rollback
    assert went is not None
    assert (went.from_step, went.step) == (6, 4)
    until(run, lambda: run.committed_step == 6)
    if killed == "later, volume":
        run.restart_coordinator(volume_lost=True)
    until(run, lambda: run.complete)
    assert run.saved[run.head.checkpoints[-1].manifest_key][:4] == before
    assert len(trained_groups(run)) == STEPS * BATCH
    record = run.head.rollback
    assert record is not None
    assert (record.generation, record.from_step) == (1, 6)
    assert run.committed_step == STEPS


@pytest.mark.parametrize("sound", [True, False])
@pytest.mark.parametrize("volume_lost", [True, False])
def test_the_first_attempt_of_a_run_that_begins_again_goes_back(
    run: Run, volume_lost: bool, sound: bool
) -> None:
    """Its order comes with the attempt, before anybody has looked: the processes wait for that."""
    until(run, lambda: run.committed_step == 6)
    first = run.head.checkpoints[0]
    if not sound:
        del run.store.objects[f"s3://bucket/{first.manifest_key}"]
    run.end_process(zombie=False)
    run.attempt += 1
    run.ask_to_go_back(4)
    assert run.order is not None
    run.order = run.order.model_copy(update={"attempt": run.attempt})
    # As after a failure or a suspension: all pods are new.
    run.restart_coordinator(volume_lost=volume_lost)
    run.fixed.clear()
    until(run, lambda: len(run.requests) == 1)
    assert run.requests[0].done is sound
    assert (run.head.newest == first) is sound
    until(run, lambda: run.complete)
    assert run.attempt == 2, "no attempt more"
    assert len(trained_groups(run)) == STEPS * BATCH


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ("another step", "has no checkpoint of step 3. It has steps 4, 6"),
        ("manifest gone", "is no manifest"),
        ("ledger gone", "ledger.sqlite is missing"),
        ("ledger cut", "instead of"),
        ("ledger changed", "another SHA-256"),
        ("another stage", "Stage sft doesn't run now"),
    ],
)
def test_a_checkpoint_that_cannot_be_gone_back_to_stops_nothing(
    run: Run, damage: str, sentence: str
) -> None:
    until(run, lambda: run.committed_step == 6)
    first = run.head.checkpoints[0]
    manifest = f"s3://bucket/{first.manifest_key}"
    ledger = manifest.replace("manifest.json", "ledger.sqlite")
    match damage:
        case "manifest gone":
            del run.store.objects[manifest]
        case "ledger gone":
            del run.store.objects[ledger]
        case "ledger cut":
            run.store.objects[ledger] = run.store.objects[ledger][:-1]
        case "ledger changed":
            run.store.objects[ledger] = run.store.objects[ledger][:-1] + b"?"
    if damage.startswith("ledger"):
        run.damaged.add(first.manifest_key)
    attempt = run.attempt
    run.ask_to_go_back(3 if damage == "another step" else 4)
    assert run.order is not None
    if damage == "another stage":
        run.order = run.order.model_copy(update={"stage": "sft"})
    until(run, lambda: bool(run.requests))
    assert sentence in run.requests[0].problem
    assert run.attempt == attempt
    assert run.head.rollback is None
    until(run, lambda: run.complete)
    assert run.attempt == attempt


def test_a_pod_that_stays_away_costs_one_restart_and_its_return_another(run: Run) -> None:
    """Smaller, then larger again, with every step and every group once."""
    until(run, lambda: run.committed_step == 2)
    run.lose_trainer_pod(0)
    until(run, lambda: run.sizes[-1:] == [1] and run.committed_step == 4)
    run.return_trainer_pods()
    until(run, lambda: run.complete)
    assert run.sizes == [2, 1, 2]
    assert len(trained_groups(run)) == STEPS * BATCH


@pytest.mark.parametrize("lost", ["nothing", "volume before a checkpoint", "volume after one"])
def test_a_run_goes_on_from_a_checkpoint_of_another_run(
    run: Run, tmp_path: Path, lost: str
) -> None:
    """Weights, ledger and data continue there; the other run goes on, and nothing of it changes."""
    until(run, lambda: run.committed_step == 6)
    # Groups that are running and admitted are in its ledger.
    until(run, lambda: run.trains and run.process is not None and run.process.step >= 7)
    first = run.head.checkpoints[0]
    theirs = {url: body for url, body in run.store.objects.items() if url.startswith(run.run_url)}
    second = Run(tmp_path / "second", NEVER, run, first.step)
    if lost == "volume before a checkpoint":
        until(second, lambda: second.process is not None and second.process.step > first.step)
        second.restart_coordinator(volume_lost=True)
    if lost == "volume after one":
        until(second, lambda: second.committed_step > first.step)
        second.restart_coordinator(volume_lost=True)
    until(second, lambda: second.complete)
    after = {url: body for url, body in run.store.objects.items() if url.startswith(run.run_url)}
    assert after == theirs
    newest = second.head.newest
    assert newest is not None
    assert newest.manifest_key.startswith("x/second/")
    assert second.saved[newest.manifest_key][: first.step] == run.saved[first.manifest_key]
    assert len(trained_groups(second)) == STEPS * BATCH
    until(run, lambda: run.complete)
    assert len(trained_groups(run)) == STEPS * BATCH


@pytest.mark.parametrize("volume_lost", [False, True])
def test_a_run_goes_on_from_the_checkpoint_whose_ledger_it_has(
    run: Run, tmp_path: Path, volume_lost: bool
) -> None:
    """Whatever the other run's head says by now: it may have come to the same step again."""
    until(run, lambda: run.committed_step == 6)
    first, later = run.head.checkpoints
    second = Run(tmp_path / "second", NEVER, run, first.step)
    again = later.model_copy(update={"step": first.step})
    run._write_head(run.head.model_copy(update={"checkpoints": [again]}))
    if volume_lost:
        second.restart_coordinator(volume_lost=True)
    until(second, lambda: second.complete)
    newest = second.head.newest
    assert newest is not None
    assert second.saved[newest.manifest_key][: first.step] == run.saved[first.manifest_key]
    assert len(trained_groups(second)) == STEPS * BATCH


@pytest.mark.parametrize(
    ("wrong", "reason", "sentence"),
    [
        ("step", "StartNotFound", "no checkpoint of step 5. It has steps 4, 6"),
        ("manifest", "StartDamaged", "is no manifest"),
        ("ledger", "StartDamaged", "another SHA-256"),
    ],
)
def test_a_run_does_not_begin_from_a_checkpoint_that_is_not_sound(
    run: Run, tmp_path: Path, wrong: str, reason: str, sentence: str
) -> None:
    until(run, lambda: run.committed_step == 6)
    manifest = f"s3://bucket/{run.head.checkpoints[0].manifest_key}"
    ledger = manifest.replace("manifest.json", "ledger.sqlite")
    if wrong == "manifest":
        run.store.objects[manifest] = b"{}"
    if wrong == "ledger":
        run.store.objects[ledger] = run.store.objects[ledger][:-1] + b"?"
    with pytest.raises(PreconditionError, match=sentence) as caught:
        Run(tmp_path / "second", NEVER, run, 5 if wrong == "step" else 4)
    assert caught.value.problem.reason == reason


def test_weight_versions_of_the_other_run_count_on(run: Run) -> None:
    """Trajectories that wait for a batch carry its numbers."""
    until(run, lambda: run.committed_step == 2)
    db, desired = run.core.ledger.db, run.core.job.desired
    first = run.head.checkpoints[0]
    asked = (Origin(run_url="s3://bucket/other", step=2), first, desired.spec.stages[0].type)
    found = origin.OriginLedger("s3://bucket/other/ledger.sqlite", 2, 9, asked)
    with db.transaction():
        origin.OtherRun(run.store, run.clock).adopt(db, desired, found)  # type: ignore[arg-type]
        run.core.job.write(db, desired)
    # No engine may load the base model before this run's coordinator has prepared it.
    assert run.core.preconditions.model("policy") is None
    assert run.core.training.task(run.attempt) is None
    drawn = groups.drawn(db, "rl")
    assert stages.start(db, "rl", 1.0)
    assert groups.drawn(db, "rl") == drawn > 0
    assert run.core.job.first_version() == 7
    assert run.core.job.first_version("user") == 0
    assert progress.last_committed(db, "rl") == 0
    assert run.core.weights.newest("policy") == 0
    assert run.core.weights.required("policy") == 7


@pytest.mark.parametrize("wrong", ["type of the stage", "ledger"])
def test_what_was_refused_is_not_downloaded_every_three_seconds(
    run: Run, tmp_path: Path, wrong: str
) -> None:
    """A ledger of gigabytes, read twice by each look."""
    until(run, lambda: run.committed_step == 6)
    step, desired = run.head.checkpoints[0].step, run.wanted
    other, theirs = origin.OtherRun(run.store, run.clock), Origin(run_url=run.run_url, step=step)  # type: ignore[arg-type]
    ledger = f"s3://bucket/{run.head.checkpoints[0].manifest_key}".replace(
        "manifest.json", "ledger.sqlite"
    )
    sound = run.store.objects[ledger]
    if wrong == "ledger":
        run.store.objects[ledger] = sound[:-1] + b"?"
    else:
        stage = desired.spec.stages[0].model_copy(update={"type": StageType.SFT})
        spec = desired.spec.model_copy(update={"stages": [stage]})
        desired = desired.model_copy(update={"spec": spec})

    def begin() -> None:
        found = other.fetch(desired, theirs, tmp_path / "part")
        with run.core.ledger.db.transaction():
            other.adopt(run.core.ledger.db, desired, found)

    def look() -> PreconditionError:
        with pytest.raises(PreconditionError) as caught:
            begin()
        return caught.value

    first = look()
    del run.store.objects[ledger]
    # Nothing of the ledger is read: that it is gone now isn't noticed.
    assert look() is first
    run.store.objects[ledger] = sound
    run.clock.now += origin.LOOK_SECONDS + 1
    if wrong == "ledger":
        found = other.fetch(desired, theirs, tmp_path / "part")
        assert (found.source, found.step) == (ledger, step)
    else:
        assert look() is first
