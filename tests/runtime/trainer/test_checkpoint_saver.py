"""Checkpoints while store or coordinator are away, and the last one of a drain."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sea_api.v1alpha1.policy import Checkpoint
from sea_runtime.client.sync_client import CoordinatorClient
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.trainer import background
from sea_runtime.trainer.checkpoint import pending_save
from sea_runtime.trainer.checkpoint import saver as saving
from sea_runtime.trainer.checkpoint.commit import Commits
from sea_runtime.trainer.checkpoint.pending_save import Position
from sea_runtime.trainer.checkpoint.saver import Saver
from sea_runtime.trainer.context import PodSettings, RankContext
from sea_runtime.trainer.process_protocol import RankAssignment, StatusPipe
from sea_runtime.trainer.stage_trainer import StageTrainer
from sea_runtime.wire.trainer import TrainerTask
from sea_testing.fake_coordinator import FakeCoordinator
from sea_testing.one_rank import NOTHING, Alone, State
from sea_testing.waiting import HANG_S, wait_for

pytestmark = pytest.mark.component
NOWHERE = "http://127.0.0.1:9"
RUN = "saver"


@pytest.fixture
def context(store: ObjectStore, coordinator: FakeCoordinator, tmp_path: Path) -> RankContext:
    pod = PodSettings("job-trainer-0", "127.0.0.1", coordinator.url, "token", tmp_path, 1)
    client = CoordinatorClient(coordinator.url, "token", retry_timeout=0.0)
    assignment = RankAssignment(1, 0, 1, 0, "127.0.0.1", 1)
    control: Any = Alone()
    return RankContext(pod, assignment, control, client, store, StatusPipe())


@pytest.fixture
def saver(
    context: RankContext,
    coordinator: FakeCoordinator,
    make_task: Callable[..., TrainerTask],
    monkeypatch: pytest.MonkeyPatch,
) -> Saver:
    coordinator.task = make_task(RUN, {"type": "RL", "rl": {}})
    monkeypatch.setattr(saving, "WAIT_SECONDS", 0.05)
    monkeypatch.setattr(saving, "RankState", State)
    monkeypatch.setattr(pending_save, "HICCUP_SECONDS", 0.0)
    commits = Commits(context.store, f"s3://runs/{RUN}", "stage", 1)
    return Saver(context, coordinator.task, Checkpoint(), commits, Path())


def without(context: RankContext, part: str) -> RankContext:
    """The context while its store or its coordinator is away."""
    gone = {
        "store": ObjectStore(NOWHERE, retry_timeout=0.0),
        "client": CoordinatorClient(NOWHERE, "token", retry_timeout=0.0),
    }
    return RankContext(**{**vars(context), part: gone[part]})


@pytest.mark.parametrize("part", ["store", "client"])
def test_the_last_checkpoint_waits_until_store_and_coordinator_are_back(
    saver: Saver,
    context: RankContext,
    coordinator: FakeCoordinator,
    caplog: pytest.LogCaptureFixture,
    part: str,
) -> None:
    """No later one replaces it: without it its steps would be lost and the drain never end."""
    saver.context = without(context, part)
    saver.start(NOTHING, NOTHING, Position(3, 3), needed=True)
    end = background.start("end", saver.finish)
    wait_for("two attempts", lambda: caplog.text.count("The checkpoint of step 3 waits") > 1)
    assert not end.done()
    saver.context = context
    end.result(HANG_S)
    assert [one.step for one in coordinator.committed] == [3]


@pytest.mark.parametrize("part", ["store", "client"])
def test_any_other_checkpoint_is_replaced_by_the_next(
    saver: Saver, context: RankContext, coordinator: FakeCoordinator, part: str
) -> None:
    saver.context = without(context, part)
    saver.start(NOTHING, NOTHING, Position(3, 3))
    saver.finish()
    saver.context = context
    saver.start(NOTHING, NOTHING, Position(4, 4))
    saver.finish()
    assert [one.step for one in coordinator.committed] == [4]


def interrupted(saver: Saver, context: RankContext, step: int, resumed: int = 0) -> None:
    nothing: dict[str, Any] = dict.fromkeys(
        ("spec", "settings", "initial", "optimizer", "publisher", "buffers")
    )
    stage = StageTrainer(
        context=context,
        task=saver.task,
        saver=saver,
        model=NOTHING,
        step=step,
        resumed=resumed,
        **nothing,
    )
    stage.interrupt(step)


def objects(context: RankContext) -> dict[str, str]:
    """Entity tags of all objects of the stage's checkpoints, without the head."""
    found = context.store.list(f"s3://runs/{RUN}/stages/stage/checkpoints/")
    return {one.url: one.etag for one in found if not one.url.endswith("/head.json")}


def test_an_interrupt_at_a_committed_step_overwrites_nothing(
    saver: Saver, context: RankContext, coordinator: FakeCoordinator
) -> None:
    """Killed in between, the manifest would name objects that have changed."""
    saver.start(NOTHING, NOTHING, Position(6, 6))
    saver.finish()
    before = objects(context)
    assert any("step-000006-a1/manifest.json" in url for url in before)
    interrupted(saver, context, 6)
    assert objects(context) == before
    assert [one.step for one in coordinator.committed] == [6, 6], "reported again"
    interrupted(saver, context, 7)
    assert coordinator.committed[-1].step == 7


def test_a_checkpoint_that_a_killed_attempt_did_not_report_is_reported_by_the_next(
    saver: Saver, context: RankContext, coordinator: FakeCoordinator
) -> None:
    """Though that one has nothing to commit: the next stage's versions count from this step."""
    where = (context.store, "s3://runs/saver-killed", "stage")
    first = Saver(context, saver.task, Checkpoint(), Commits(*where, 1), Path())
    first.start(NOTHING, NOTHING, Position(6, 6))
    first.finish()
    coordinator.committed.clear()
    coordinator.attempt = 2
    assignment = RankAssignment(2, 0, 1, 0, "127.0.0.1", 1)
    later = RankContext(**{**vars(context), "assignment": assignment})
    second = Saver(later, saver.task, Checkpoint(), Commits(*where, 2), Path())
    second.commits.fence()
    interrupted(second, later, 6, resumed=6)
    (found,) = coordinator.committed
    assert (found.attempt, found.step) == (2, 6)
    assert found.manifest_key.endswith("/step-000006-a1/manifest.json")
    interrupted(second, later, 0)
    assert len(coordinator.committed) == 1


@pytest.mark.parametrize("part", ["store", "client"])
def test_a_report_of_what_is_committed_waits_for_half_an_hour_at_most(
    saver: Saver, context: RankContext, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """Nothing is lost with the attempt then, and its processes hold GPUs."""
    saver.start(NOTHING, NOTHING, Position(6, 6))
    saver.finish()
    monkeypatch.setattr(background, "MAX_OUTAGE_SECONDS", -1.0)
    saver.context = away = without(context, part)
    saver.commits = Commits(away.store, f"s3://runs/{RUN}", "stage", 1)
    with pytest.raises(background.OUTAGES, match="The last checkpoint has waited"):
        saver.committed(6)


class OfTwo(Alone):
    """Rank 0's group with another rank, whose upload ended as it says."""

    def __init__(self, state: int, failure: str) -> None:
        self.other = (state, failure, False)

    def all_gather(self, value: Any) -> list[Any]:
        return [value, self.other]


def test_what_another_ranks_upload_failed_with_is_known_until_a_checkpoint_is_committed(
    saver: Saver, context: RankContext, coordinator: FakeCoordinator
) -> None:
    """Only its own log has it otherwise, and training goes on with ever more to lose."""
    saver.context = RankContext(
        **{**vars(context), "control": OfTwo(-1, "AccessDeniedError: the keys may not write.")}
    )
    saver.exports.newest = 2
    saver.start(NOTHING, NOTHING, Position(3, 3))
    saver.finish()
    assert saver.failure == (
        "The checkpoint of step 3 isn't committed (rank 1: AccessDeniedError: the keys may not "
        "write.). Training goes on; a failure now goes back to step 2."
    )
    saver.context = context
    saver.start(NOTHING, NOTHING, Position(4, 4))
    saver.finish()
    assert [one.step for one in coordinator.committed] == [4]
    assert saver.failure == ""


def test_an_outage_that_passes_leaves_no_failure(
    saver: Saver, context: RankContext, coordinator: FakeCoordinator
) -> None:
    saver.context = without(context, "store")
    saver.start(NOTHING, NOTHING, Position(3, 3))

    def waits() -> bool:
        saver.poll()
        return "rank 0: StoreUnavailableError" in saver.failure

    wait_for("the outage", waits)
    saver.context = context

    def ended() -> bool:
        saver.poll()
        return not saver.busy

    wait_for("the commit", ended)
    assert ([one.step for one in coordinator.committed], saver.failure) == ([3], "")


def test_each_step_reports_how_far_its_checkpoint_is_behind(
    saver: Saver, context: RankContext, coordinator: FakeCoordinator
) -> None:
    saver.exports.newest = 6
    nothing: dict[str, Any] = dict.fromkeys(
        ("spec", "settings", "initial", "optimizer", "publisher", "buffers")
    )
    stage = StageTrainer(
        context=context, task=saver.task, saver=saver, model=NOTHING, step=9, **nothing
    )
    stage.report(20, {"loss": 1.0})
    assert coordinator.progress[-1].metrics == {"loss": 1.0, "checkpoint_behind": 3.0}


def test_an_interrupt_at_a_step_of_an_older_attempt_has_its_own_folder(
    saver: Saver, context: RankContext, coordinator: FakeCoordinator
) -> None:
    saver.start(NOTHING, NOTHING, Position(8, 8))
    saver.finish()
    coordinator.attempt = 2
    later = RankContext(
        **{**vars(context), "assignment": RankAssignment(2, 0, 1, 0, "127.0.0.1", 1)}
    )
    commits = Commits(context.store, f"s3://runs/{RUN}", "stage", 2)
    commits.fence()
    interrupted(Saver(later, saver.task, Checkpoint(), commits, Path()), later, 8)
    head, _ = commits.read()
    assert head.newest is not None
    assert "step-000008-a2/" in head.newest.manifest_key
    assert commits.url(head.newest.manifest_key) in objects(context)
