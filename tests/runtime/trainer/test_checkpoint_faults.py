"""Checkpoints while the store misbehaves: the one before stays, and the next one that can is
committed."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sea_api.v1alpha1.policy import Checkpoint
from sea_devcluster.s3 import S3Server
from sea_runtime.client.sync_client import CoordinatorClient
from sea_runtime.store import multipart
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.trainer import background
from sea_runtime.trainer.checkpoint import saver as saving
from sea_runtime.trainer.checkpoint import staging
from sea_runtime.trainer.checkpoint.commit import Commits
from sea_runtime.trainer.checkpoint.pending_save import Position
from sea_runtime.trainer.checkpoint.saver import Saver
from sea_runtime.trainer.context import PodSettings, RankContext
from sea_runtime.trainer.errors import FencedError
from sea_runtime.trainer.process_protocol import RankAssignment, StatusPipe
from sea_runtime.wire.trainer import TrainerTask
from sea_testing.checkpoints import restored
from sea_testing.fake_coordinator import FakeCoordinator
from sea_testing.one_rank import NOTHING, Alone, State
from sea_testing.store_proxy import Fault, StoreProxy
from sea_testing.waiting import HANG_S, wait_for

pytestmark = pytest.mark.component


class LargeState(State):
    nbytes = (5 << 21) + 1000


class NoState(State):
    """Of a rank beyond the replicas of every parameter."""

    nbytes = 0


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[StoreProxy]:
    with StoreProxy(s3.endpoint) as found:
        yield found


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three parts; S3 allows 5 MiB or more."""
    monkeypatch.setattr(multipart, "PART", 5 << 20)
    monkeypatch.setattr(saving, "RankState", LargeState)
    monkeypatch.setattr(saving, "WAIT_SECONDS", 0.05)


@pytest.fixture
def make_saver(
    proxy: StoreProxy,
    coordinator: FakeCoordinator,
    make_task: Callable[..., TrainerTask],
    tmp_path: Path,
) -> Callable[[int], Saver]:
    """Of an attempt that has taken the stage over, behind the proxy."""

    def make(attempt: int) -> Saver:
        task = make_task(tmp_path.name, {"type": "RL", "rl": {}})
        coordinator.task, coordinator.attempt = task, attempt
        pod = PodSettings("job-trainer-0", "127.0.0.1", coordinator.url, "token", tmp_path, 1)
        control: Any = Alone()
        store = ObjectStore(proxy.url, retry_timeout=2.0)
        context = RankContext(
            pod,
            RankAssignment(attempt, 0, 1, 0, "127.0.0.1", 1),
            control,
            CoordinatorClient(coordinator.url, "token", retry_timeout=0.0),
            store,
            StatusPipe(),
        )
        commits = Commits(store, task.run_url, "stage", attempt)
        commits.fence()
        return Saver(context, task, Checkpoint(), commits, Path())

    return make


def save(saver: Saver, step: int) -> None:
    saver.start(NOTHING, NOTHING, Position(step, step))
    saver.finish()


def steps(saver: Saver) -> list[int]:
    return [one.step for one in saver.commits.read()[0].checkpoints]


def is_write(method: str, path: str) -> bool:
    return method in ("PUT", "POST") and "/step-" in path


def is_part(method: str, path: str) -> bool:
    return method == "PUT" and "partNumber" in path


@pytest.mark.parametrize(
    ("fault", "times"), [(Fault.BUSY, 4), (Fault.DROP, 3), (Fault.SLOW, 100)], ids=str
)
def test_what_passes_within_the_time_out_costs_nothing(
    make_saver: Callable[[int], Saver], proxy: StoreProxy, fault: Fault, times: int
) -> None:
    """A burst of 503, connections that break off in a part, a slow store."""
    saver, left = make_saver(1), [fault] * times
    proxy.choose = lambda method, path: left.pop() if is_part(method, path) and left else None
    save(saver, 1)
    assert steps(saver) == [1]
    assert len(left) < times
    assert sum("partNumber" in one for one in proxy.requests) >= 3
    found = restored(Commits(saver.context.store, saver.commits.run_url, "stage", 2))
    assert found is not None
    assert found.step == 1


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault.BUSY, "StoreUnavailableError"),
        (Fault.DROP, "StoreUnavailableError"),
        (Fault.REFUSED, "RequestRefusedError"),
        (Fault.FULL, "StoreUnavailableError"),
        (Fault.LIE, "Error"),
        (Fault.REVOKED, "AccessDeniedError"),
        (Fault.SKEWED, "clocks of this node and of the store differ"),
    ],
    ids=str,
)
def test_a_store_that_fails_leaves_the_checkpoint_before(
    make_saver: Callable[[int], Saver],
    proxy: StoreProxy,
    caplog: pytest.LogCaptureFixture,
    fault: Fault,
    words: str,
) -> None:
    """Its kind is reported, and once it has passed the next checkpoint is committed."""
    saver = make_saver(1)
    save(saver, 1)
    proxy.choose = lambda method, path: fault if is_write(method, path) else None
    save(saver, 2)
    assert steps(saver) == [1]
    assert words in caplog.text
    proxy.choose = lambda method, path: None
    save(saver, 3)
    assert steps(saver) == [1, 3]


def test_the_ledger_is_of_the_copied_step(
    make_saver: Callable[[int], Saver], proxy: StoreProxy, store: ObjectStore
) -> None:
    """Not of the commit: the store takes no part yet when the snapshot is there."""
    saver = make_saver(1)
    proxy.choose = lambda method, path: Fault.BUSY if is_part(method, path) else None
    saver.start(NOTHING, NOTHING, Position(1, 1))
    wait_for("the ledger", lambda: store.exists(f"{saver.commits.run_url}/ledger/1.sqlite"))
    saver.poll()
    assert saver.busy
    assert not steps(saver)
    proxy.choose = lambda method, path: None
    saver.finish()
    assert steps(saver) == [1]


@pytest.mark.parametrize("name", ["rank-00000.state", "rank-00000.json", "manifest.json"])
def test_an_object_that_a_store_only_reports_as_written_is_never_committed(
    make_saver: Callable[[int], Saver], proxy: StoreProxy, name: str
) -> None:
    saver = make_saver(1)
    save(saver, 1)
    proxy.choose = lambda method, path: (
        Fault.LIE if is_write(method, path) and f"{name}" in path else None
    )
    save(saver, 2)
    assert steps(saver) == [1]


@pytest.mark.parametrize("ledger", ["gone", "cut"])
def test_a_checkpoint_whose_ledger_the_store_has_lost_is_never_committed(
    make_saver: Callable[[int], Saver], proxy: StoreProxy, store: ObjectStore, ledger: str
) -> None:
    """No coordinator could go on from it. The ranks' own objects are all there."""
    saver = make_saver(1)
    save(saver, 1)
    proxy.choose = lambda method, path: Fault.BUSY if is_part(method, path) else None
    saver.start(NOTHING, NOTHING, Position(2, 2))
    snapshot = f"{saver.commits.run_url}/ledger/2.sqlite"
    wait_for("the ledger", lambda: store.exists(snapshot))
    store.delete(snapshot) if ledger == "gone" else store.put(snapshot, b"x")
    proxy.choose = lambda method, path: None
    saver.finish()
    assert steps(saver) == [1]
    assert "ledger/2.sqlite" in saver.failure
    save(saver, 3)
    assert steps(saver) == [1, 3]


def test_of_two_trainers_exactly_one_commits(
    make_saver: Callable[[int], Saver], proxy: StoreProxy, coordinator: FakeCoordinator
) -> None:
    """The older one is in the middle of its upload when the newer one takes over."""
    old = make_saver(1)
    proxy.choose = lambda method, path: (
        Fault.SLOW if is_part(method, path) and "-a1/" in path else None
    )
    old.start(NOTHING, NOTHING, Position(1, 1))
    new = make_saver(2)
    ending = background.start("new", lambda: save(new, 1))
    with pytest.raises(FencedError):
        old.finish()
    ending.result(HANG_S)
    assert ["-a2/" in one.manifest_key for one in new.commits.read()[0].checkpoints] == [True]
    assert [one.attempt for one in coordinator.committed] == [2]


def test_what_a_killed_upload_leaves_is_swept_and_only_that(
    make_saver: Callable[[int], Saver], proxy: StoreProxy, s3: S3Server, store: ObjectStore
) -> None:
    """Unfinished multipart uploads of the stage's older attempts; a neighbor's stay."""
    saver = make_saver(1)
    save(saver, 1)
    client, run = s3.client(), saver.commits.run_url.removeprefix("s3://runs/")
    left = [
        f"{run}/stages/stage/checkpoints/step-000002-a1/rank-00000.state",
        f"{run}/stages/stage/checkpoints/step-000002-a3/rank-00000.state",
        f"{run}-2/stages/stage/checkpoints/step-000002-a1/rank-00000.state",
        f"{run}/stages/other/checkpoints/step-000002-a1/rank-00000.state",
    ]
    for key in left:
        client.create_multipart_upload(Bucket="runs", Key=key)
    found = restored(Commits(store, saver.commits.run_url, "stage", 2))
    assert found is not None
    assert found.step == 1

    def unfinished() -> set[str]:
        reply = client.list_multipart_uploads(Bucket="runs", Prefix=run)
        return {one["Key"] for one in reply.get("Uploads", [])}

    wait_for("the sweep", lambda: unfinished() == set(left[1:]))


def test_without_memory_for_a_copy_training_waits_for_the_upload(
    make_saver: Callable[[int], Saver],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is read part by part, and says why."""
    monkeypatch.setattr(staging, "available_memory", lambda: LargeState.nbytes)
    saver = make_saver(1)
    saver.start(NOTHING, NOTHING, Position(1, 1))
    assert saver._save is not None
    assert saver._save.uploading.done()
    assert "training waits while a checkpoint is uploaded. Raise the memory" in caplog.text
    saver.finish()
    assert steps(saver) == [1]
    assert restored(Commits(saver.context.store, saver.commits.run_url, "stage", 2)) is not None


def test_a_rank_without_a_share_has_an_empty_object(
    make_saver: Callable[[int], Saver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "RankState", NoState)
    saver = make_saver(1)
    save(saver, 1)
    assert steps(saver) == [1]
    assert restored(Commits(saver.context.store, saver.commits.run_url, "stage", 2)) is not None
