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
from sea_runtime.trainer import publisher as publishing
from sea_runtime.trainer.background import Background
from sea_runtime.trainer.groups import Control
from sea_runtime.trainer.job import Job
from sea_runtime.trainer.publisher import Publisher, ShardBuffers
from sea_runtime.trainer.report import Report
from sea_runtime.trainer.settings import PodSettings
from sea_runtime.trainer.world import World
from sea_testing.waiting import HANG_S, wait_for

pytestmark = pytest.mark.component
TENSORS = {"w": torch.arange(4.0)}
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def control() -> Iterator[Control]:
    """A real group of one rank."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield Control(0, 1, dist.new_group(backend="gloo"))
    dist.destroy_process_group()


@pytest.fixture
def job(control: Control, coordinator: Any, tmp_path: Path) -> Job:
    pod = PodSettings("job-trainer-0", "127.0.0.1", coordinator.url, "token", tmp_path, 1)
    world = World(1, 0, 1, 0, "127.0.0.1", 1)
    client = CoordinatorClient(coordinator.url, "token", retry_timeout=HANG_S)
    broken = ObjectStore(NOWHERE, retry_timeout=0.0)
    return Job(pod, world, control, client, broken, Report())


@pytest.fixture
def stage(job: Job, make_task: Any, monkeypatch: pytest.MonkeyPatch) -> Publisher:
    monkeypatch.setattr(publishing, "own_tensors", lambda _: TENSORS)
    task = make_task("publisher", {"type": "RL", "rl": {}})
    return Publisher(job, task, Weights(anchor_every=1), ShardBuffers(TENSORS, "test", nixl=False))


MODEL: Any = SimpleNamespace()


def test_a_copy_that_failed_costs_the_copy_and_not_the_trainer(
    stage: Publisher, coordinator: Any
) -> None:
    """Every buffer is used again; the versions themselves are known to the engines."""
    for step in range(1, 3 * publishing.BUFFERS):
        stage.publish(MODEL, step, step)
    assert [one.version for one in coordinator.versions] == list(range(1, 3 * publishing.BUFFERS))


def with_store(job: Job, store: ObjectStore) -> Job:
    return Job(**{**vars(job), "store": store})


def test_a_stage_does_not_end_before_its_last_version_is_kept(
    stage: Publisher, store: ObjectStore, coordinator: Any, caplog: Any
) -> None:
    """Engines that start later have nowhere else to get it from once its trainer has gone."""
    stage.publish(MODEL, 1, 1, anchor=True)
    end = Background("end", stage.finish)
    wait_for("a second attempt", lambda: "written again" in caplog.text)
    assert not end.done
    stage.job = with_store(stage.job, store)
    assert end.wait(HANG_S)
    end.result()
    assert coordinator.versions[-1].shards[0].object_url.endswith("v000001/shard-0.bin")


def test_without_a_fast_path_what_waiting_does_not_mend_ends_the_attempt(
    stage: Publisher, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    stage.job = with_store(stage.job, ObjectStore(s3.endpoint, retry_timeout=HANG_S))
    stage.policy = Weights.model_validate({"transport": "ObjectStore"})
    with pytest.raises(AccessDeniedError):
        stage.publish(MODEL, 1, 1)
