"""Weight versions and their anchors in the object store, while the store fails."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist

from sea_api.v1alpha1.policy import Weights
from sea_data.object_store import AccessDeniedError, StoreUnavailableError
from sea_devcluster.s3 import S3Server
from sea_runtime.client.sync_client import CoordinatorClient
from sea_runtime.parallel.engine_blocks import EngineCuts
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.trainer import background, export, shard_buffers
from sea_runtime.trainer import publisher as publishing
from sea_runtime.trainer.context import PodSettings, RankContext
from sea_runtime.trainer.process_groups import ControlGroup
from sea_runtime.trainer.process_protocol import RankAssignment, StatusPipe
from sea_runtime.trainer.publisher import Publisher
from sea_runtime.trainer.shard_buffers import ShardBuffers
from sea_runtime.transport import delta_codec
from sea_runtime.wire.trainer import TrainerTask
from sea_runtime.wire.weights import WeightVersion
from sea_testing.fake_coordinator import FakeCoordinator
from sea_testing.waiting import HANG_S, wait_for

pytestmark = pytest.mark.component
TENSORS = {"w": torch.arange(4.0)}
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def control() -> Iterator[ControlGroup]:
    """A real group of one rank."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield ControlGroup(0, 1, dist.new_group(backend="gloo"))
    dist.destroy_process_group()


@pytest.fixture
def context(control: ControlGroup, coordinator: FakeCoordinator, tmp_path: Path) -> RankContext:
    pod = PodSettings("job-trainer-0", "127.0.0.1", coordinator.url, "token", tmp_path, 1)
    assignment = RankAssignment(1, 0, 1, 0, "127.0.0.1", 1)
    client = CoordinatorClient(coordinator.url, "token", retry_timeout=HANG_S)
    broken = ObjectStore(NOWHERE, retry_timeout=0.0)
    return RankContext(pod, assignment, control, client, broken, StatusPipe())


@pytest.fixture
def publisher(
    context: RankContext, make_task: Callable[..., TrainerTask], monkeypatch: pytest.MonkeyPatch
) -> Publisher:
    monkeypatch.setattr(publishing, "iter_published", lambda _: TENSORS.items())
    task = make_task("publisher", {"type": "RL", "rl": {}})
    return Publisher(
        context,
        task,
        Weights(anchor_every=1),
        ShardBuffers({"w": (4,)}, torch.float32, "test", nixl=False, cuts=EngineCuts()),
    )


MODEL: Any = SimpleNamespace()


def test_an_anchor_that_fails_stops_neither_training_nor_versions(
    publisher: Publisher, coordinator: FakeCoordinator
) -> None:
    """Every buffer is reused; engines still learn of every version."""
    for step in range(1, 3 * shard_buffers.BUFFERS):
        publisher.publish(MODEL, step, step)
    assert [one.version for one in coordinator.versions] == list(
        range(1, 3 * shard_buffers.BUFFERS)
    )


def with_store(context: RankContext, store: ObjectStore) -> RankContext:
    return RankContext(**{**vars(context), "store": store})


def test_a_stage_does_not_end_before_its_last_version_is_in_the_store(
    publisher: Publisher,
    store: ObjectStore,
    coordinator: FakeCoordinator,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Engines that start later have no other source once its trainer is gone."""
    publisher.publish(MODEL, 1, 1, anchor=True)
    end = background.start("end", publisher.finish)
    wait_for("a second attempt", lambda: "Uploading version 1 again" in caplog.text)
    assert not end.done()
    assert "Weight version 1 is not in the object store (rank 0: " in publisher.failure
    publisher.context = with_store(publisher.context, store)
    end.result(HANG_S)
    assert publisher.failure == ""
    url = coordinator.versions[-1].shards[0].object_url
    assert url is not None
    assert url.endswith("v000001/shard-0-a1.bin")


def test_without_nixl_an_error_that_is_permanent_ends_the_attempt(
    publisher: Publisher, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    publisher.context = with_store(
        publisher.context, ObjectStore(s3.endpoint, retry_timeout=HANG_S)
    )
    publisher.weights = Weights.model_validate({"transport": "ObjectStore"})
    with pytest.raises(AccessDeniedError):
        publisher.publish(MODEL, 1, 1)


def test_the_newest_version_is_registered_again_as_it_was(
    publisher: Publisher, store: ObjectStore, coordinator: FakeCoordinator
) -> None:
    """A restored ledger doesn't know it; a copy of an older version is no newer one."""
    publisher.register_again()
    assert coordinator.versions == []
    publisher.context = with_store(publisher.context, store)
    publisher.publish(MODEL, 1, 1)
    publisher.weights = Weights(anchor_every=100)
    publisher.publish(MODEL, 2, 2)
    publisher.finish()
    assert [one.version for one in coordinator.versions] == [1, 2, 1]
    publisher.register_again()
    assert coordinator.versions[-1] == coordinator.versions[1]


def test_an_upload_that_never_ends_fails_the_attempt_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shard_buffers, "WAIT_SECONDS", 0.01)
    monkeypatch.setattr(shard_buffers, "MAX_WAIT_SECONDS", 0.03)
    buffers = ShardBuffers({"w": (4,)}, torch.float32, "test", nixl=False, cuts=EngineCuts())
    for _ in range(shard_buffers.BUFFERS):
        _, index = buffers.pack(TENSORS.items(), 0)
        buffers._uploads[index] = Future()
    with pytest.raises(StoreUnavailableError, match="older weight version"):
        buffers.pack(TENSORS.items(), 0)


def test_a_folder_that_is_exported_again_does_not_look_complete_meanwhile(
    context: RankContext,
    store: ObjectStore,
    make_task: Callable[..., TrainerTask],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    task = make_task("exported-again", {"type": "RL", "rl": {}})
    ready = f"{task.run_url}/stages/stage/export/READY.json"
    store.put(ready, b"{}")
    initial = tmp_path / "initial"
    initial.mkdir()
    (initial / "config.json").write_text("{}")

    def write(*_: Any) -> None:
        assert not store.exists(ready)

    for name, stand_in in (
        ("shards", lambda *_: [SimpleNamespace(turn=0)]),
        ("index", lambda _: {}),
        ("_write", write),
        ("upload_folder", lambda *_: None),
    ):
        monkeypatch.setattr(export, name, stand_in)
    config = SimpleNamespace(params_dtype=torch.float32)
    model: Any = SimpleNamespace(gpt=SimpleNamespace(config=config), shape=None, layout=None)
    export.export(with_store(context, store), task, model, initial, 1)
    assert store.exists(ready)


def kinds(versions: list[WeightVersion]) -> str:
    """Of each version as it was registered last: Full, Delta, Both or - for neither."""
    newest = {one.version: one.shards[0] for one in versions}
    names = {(True, False): "F", (False, True): "D", (True, True): "B", (False, False): "-"}
    return "".join(
        names[shard.object_url is not None, shard.delta is not None]
        for _, shard in sorted(newest.items())
    )


@pytest.mark.parametrize(
    ("transport", "asked", "expected"),
    [
        ("ObjectStore", ".....", "FDDBD"),
        ("Auto", ".....", "---F-"),
        ("Auto", "sssss", "FDDBD"),
        ("Auto", "..sss", "--FBD"),
        # What version 9's delta would be for is in no buffer any longer.
        ("Auto", "s...ssssss", "F--FDDDBDD"),
        ("Auto", "s.s.....ss", "F-D" + "F---F" + "DD"),
        ("Auto", "s......s", "F--F---F"),
        ("Auto", "s...s.ss", "F--FD-DB"),
    ],
)
def test_which_versions_are_stored_and_how(
    transport: str,
    asked: str,
    expected: str,
    publisher: Publisher,
    store: ObjectStore,
    coordinator: FakeCoordinator,
) -> None:
    """Anchors are every fourth version; `s`: an engine asks for all of them.

    A delta is for the newest version that is both stored and still in one of the buffers; without
    one the chain begins again with all bytes.
    """
    publisher.context = with_store(publisher.context, store)
    publisher.weights = Weights.model_validate({"transport": transport, "anchorEvery": 4})
    for number, flag in enumerate(asked, 1):
        publisher.task = publisher.task.model_copy(update={"store_versions": flag == "s"})
        publisher.publish(MODEL, number, number)
        publisher.finish()
    assert kinds(coordinator.versions) == expected


def test_deltas_restore_the_published_bytes(
    publisher: Publisher,
    store: ObjectStore,
    coordinator: FakeCoordinator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of real objects in S3, for the version that each names."""
    publisher.context = with_store(publisher.context, store)
    publisher.weights = Weights.model_validate({"transport": "ObjectStore", "anchorEvery": 100})
    published: dict[int, np.ndarray] = {}
    for number in (1, 2, 3):
        tensor = torch.arange(4.0) + (number == 3)
        monkeypatch.setattr(publishing, "iter_published", lambda _, one=tensor: [("w", one)])
        publisher.publish(MODEL, number, number)
        published[number] = tensor.numpy().view(np.uint8)
    shards = {one.version: one.shards[0] for one in coordinator.versions}
    assert all(one.run_url == publisher.task.run_url for one in coordinator.versions)
    for number in (2, 3):
        delta, base = shards[number].delta, shards[number - 1].blocks[0]
        assert delta is not None
        assert (delta.base_version, delta.base_attempt) == (number - 1, 1)
        body = memoryview(store.get(delta.url))[delta.offsets[0] :][: delta.sizes[0]]
        out = np.empty(16, np.uint8)
        delta_codec.apply(body, published[number - 1], out, base.checksum)
        assert np.array_equal(out, published[number])


def test_a_version_that_is_published_again_is_not_based_on_itself(
    publisher: Publisher, store: ObjectStore, coordinator: FakeCoordinator
) -> None:
    """As the last one of each stage: as a step's version, then as an anchor."""
    publisher.context = with_store(publisher.context, store)
    publisher.weights = Weights.model_validate({"transport": "ObjectStore", "anchorEvery": 100})
    for number, anchor in ((1, False), (2, False), (2, True), (3, False)):
        publisher.publish(MODEL, number, number, anchor=anchor)
    deltas = [one.shards[0].delta for one in coordinator.versions]
    assert [one.base_version if one else None for one in deltas] == [None, 1, None, 2]


def test_the_version_that_an_engine_cannot_read_is_stored_afterwards(
    publisher: Publisher, store: ObjectStore, coordinator: FakeCoordinator
) -> None:
    """With `maxStaleness` 0 no other comes before engines have this one."""
    assert publisher.task.spec is not None
    publisher.context = with_store(publisher.context, store)
    publisher.weights = publisher.task.spec.weights
    publisher.publish(MODEL, 1, 1)
    assert kinds(coordinator.versions) == "-"
    publisher.follow(publisher.task.model_copy(update={"store_versions": True}), MODEL, {})
    publisher.finish()
    assert kinds(coordinator.versions) == "F"
    publisher.publish(MODEL, 2, 2)
    publisher.finish()
    assert kinds(coordinator.versions) == "FD"


def test_after_a_failed_upload_or_a_restart_the_chain_begins_again(
    publisher: Publisher, store: ObjectStore, coordinator: FakeCoordinator
) -> None:
    """The failed version is based on nothing that engines could have."""
    publisher.weights = Weights(anchor_every=100)
    publisher.task = publisher.task.model_copy(update={"store_versions": True})
    broken, good = publisher.context, with_store(publisher.context, store)
    for number, context in enumerate((good, good, broken, good, good), 1):
        publisher.context = context
        publisher.publish(MODEL, number, number)
        publisher.settle(wait=True)
    assert kinds(coordinator.versions) == "FD-FD"
    # A new attempt has no older version in its buffers.
    publisher.buffers = ShardBuffers(
        {"w": (4,)}, torch.float32, "test", nixl=False, cuts=EngineCuts()
    )
    publisher.publish(MODEL, 6, 6)
    publisher.finish()
    assert kinds(coordinator.versions) == "FD-FDF"


def uploaded(publisher: Publisher) -> bool:
    """Whether the newest upload has ended, well or badly."""
    upload = publisher._upload_of
    return upload is not None and upload.upload is not None and upload.upload.done()


def test_an_attempt_that_dies_before_its_manifest_leaves_the_anchor_before_it_whole(
    publisher: Publisher,
    context: RankContext,
    store: ObjectStore,
    coordinator: FakeCoordinator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The manifest that is there goes on naming the bytes that it has the checksums of."""
    publisher.context = with_store(context, store)
    publisher.publish(MODEL, 1, 1)
    publisher.finish()
    url = coordinator.versions[-1].shards[0].object_url
    assert url is not None
    before = store.get(url)
    monkeypatch.setattr(publishing, "iter_published", lambda _: [("w", torch.arange(4.0) + 1)])
    later = {**vars(publisher.context), "assignment": RankAssignment(2, 0, 1, 0, "127.0.0.1", 1)}
    buffers = ShardBuffers({"w": (4,)}, torch.float32, "later", nixl=False, cuts=EngineCuts())
    second = Publisher(RankContext(**later), publisher.task, publisher.weights, buffers)
    second.publish(MODEL, 1, 1)
    wait_for("its upload", lambda: uploaded(second))
    assert store.get(url) == before


def test_a_version_that_engines_wait_for_is_uploaded_again(
    publisher: Publisher, store: ObjectStore, coordinator: FakeCoordinator
) -> None:
    """With maxStaleness 0 there is no next version before they have it."""
    publisher.weights = Weights(anchor_every=100)
    publisher.task = publisher.task.model_copy(update={"store_versions": True})
    publisher.publish(MODEL, 1, 1)
    wait_for("the failure", lambda: uploaded(publisher))
    # Right after the step, as in `StageTrainer.settle`: only then does the trainer wait.
    publisher.settle()
    assert "(rank 0: StoreUnavailableError: " in publisher.failure
    publisher.context = with_store(publisher.context, store)

    def stored() -> bool:
        publisher.settle(again=True)
        return kinds(coordinator.versions) == "F"

    wait_for("the copy", stored)
    assert publisher.failure == ""


def test_an_upload_that_is_refused_is_not_repeated_at_once(
    publisher: Publisher, store: ObjectStore, coordinator: FakeCoordinator
) -> None:
    """The whole shard would be sent again and again, though only a person can change the answer."""
    now, sent = 0.0, 0

    class Refusing:
        def put_buffer(self, *_: Any) -> None:
            nonlocal sent
            sent += 1
            raise AccessDeniedError("PUT: access denied")

    publisher._clock = lambda: now
    publisher.context = with_store(publisher.context, Refusing())  # type: ignore[arg-type]
    publisher.weights = Weights(anchor_every=100)
    publisher.task = publisher.task.model_copy(update={"store_versions": True})
    publisher.publish(MODEL, 1, 1)
    wait_for("the refusal", lambda: uploaded(publisher))
    for _ in range(3):
        publisher.settle(again=True)
    assert sent == 1
    assert "AccessDeniedError" in publisher.failure
    publisher.context = with_store(publisher.context, store)
    now = publishing.REFUSED_SECONDS
    publisher.settle(again=True)
    wait_for("the copy", lambda: uploaded(publisher))
    publisher.settle(again=True)
    assert (kinds(coordinator.versions), publisher.failure) == ("F", "")


def test_an_anchor_that_nobody_waits_for_is_made_again_with_a_later_version(
    publisher: Publisher, store: ObjectStore, coordinator: FakeCoordinator
) -> None:
    """Until then the reason stands."""
    publisher.publish(MODEL, 1, 1)
    wait_for("the failure", lambda: uploaded(publisher))
    publisher.settle(again=True)
    assert publisher._upload_of is None
    assert "Weight version 1 is not in the object store" in publisher.failure
    publisher.context = with_store(publisher.context, store)
    publisher.publish(MODEL, 2, 2)
    publisher.finish()
    assert (kinds(coordinator.versions), publisher.failure) == ("-F", "")
