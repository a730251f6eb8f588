"""Copies of weight versions in the object store, while the store fails."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist

from sea_api.v1alpha1.policy import Weights
from sea_data.object_store import AccessDeniedError
from sea_runtime.client.sync_client import CoordinatorClient
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.trainer import background, shard_buffers
from sea_runtime.trainer import publisher as publishing
from sea_runtime.trainer.context import PodSettings, RankContext
from sea_runtime.trainer.process_groups import ControlGroup
from sea_runtime.trainer.publisher import Publisher
from sea_runtime.trainer.rank_assignment import RankAssignment
from sea_runtime.trainer.shard_buffers import ShardBuffers
from sea_runtime.trainer.status_pipe import StatusPipe
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
def context(control: ControlGroup, coordinator: Any, tmp_path: Path) -> RankContext:
    pod = PodSettings("job-trainer-0", "127.0.0.1", coordinator.url, "token", tmp_path, 1)
    assignment = RankAssignment(1, 0, 1, 0, "127.0.0.1", 1)
    client = CoordinatorClient(coordinator.url, "token", retry_timeout=HANG_S)
    broken = ObjectStore(NOWHERE, retry_timeout=0.0)
    return RankContext(pod, assignment, control, client, broken, StatusPipe())


@pytest.fixture
def stage(context: RankContext, make_task: Any, monkeypatch: pytest.MonkeyPatch) -> Publisher:
    monkeypatch.setattr(publishing, "published_tensors", lambda _: TENSORS)
    task = make_task("publisher", {"type": "RL", "rl": {}})
    return Publisher(
        context, task, Weights(anchor_every=1), ShardBuffers(TENSORS, "test", nixl=False)
    )


MODEL: Any = SimpleNamespace()


def test_a_copy_that_failed_costs_the_copy_and_not_the_trainer(
    stage: Publisher, coordinator: Any
) -> None:
    """Every buffer is used again; the versions themselves are known to the engines."""
    for step in range(1, 3 * shard_buffers.BUFFERS):
        stage.publish(MODEL, step, step)
    assert [one.version for one in coordinator.versions] == list(
        range(1, 3 * shard_buffers.BUFFERS)
    )


def with_store(context: RankContext, store: ObjectStore) -> RankContext:
    return RankContext(**{**vars(context), "store": store})


def test_a_stage_does_not_end_before_its_last_version_is_kept(
    stage: Publisher, store: ObjectStore, coordinator: Any, caplog: Any
) -> None:
    """Engines that start later have nowhere else to get it from once its trainer has gone."""
    stage.publish(MODEL, 1, 1, anchor=True)
    end = background.start("end", stage.finish)
    wait_for("a second attempt", lambda: "Uploading the anchor again" in caplog.text)
    assert not end.done()
    stage.context = with_store(stage.context, store)
    end.result(HANG_S)
    assert coordinator.versions[-1].shards[0].object_url.endswith("v000001/shard-0.bin")


def test_without_a_fast_path_what_waiting_does_not_mend_ends_the_attempt(
    stage: Publisher, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    stage.context = with_store(stage.context, ObjectStore(s3.endpoint, retry_timeout=HANG_S))
    stage.weights = Weights.model_validate({"transport": "ObjectStore"})
    with pytest.raises(AccessDeniedError):
        stage.publish(MODEL, 1, 1)
