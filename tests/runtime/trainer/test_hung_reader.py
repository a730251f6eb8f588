"""An engine that stops in the middle of a read holds up neither training nor other engines."""

from collections.abc import Iterator

import psutil
import pytest
import torch

from sea_runtime.parallel.engine_blocks import EngineCuts
from sea_runtime.rollout.vllm_plugin.fetch import Fetcher, NixlReader
from sea_runtime.trainer.shard_buffers import BUFFERS, ShardBuffers
from sea_runtime.transport import manifest
from sea_runtime.transport.read_plan import ShardRead, reads_of
from sea_runtime.transport.sources import NIXL
from sea_runtime.wire.weights import WeightVersion
from sea_testing.waiting import wait_for
from sea_testing.weights_source import BLOCKS, WeightsSource, needed, tensor

pytestmark = pytest.mark.component

NBYTES = 16 << 20


@pytest.fixture
def hung() -> Iterator[WeightsSource]:
    with WeightsSource("hung") as process:
        yield process


@pytest.fixture
def buffers() -> Iterator[ShardBuffers]:
    shapes = {"t": (BLOCKS, NBYTES // BLOCKS)}
    found = ShardBuffers(shapes, torch.uint8, "test", nixl=True, cuts=EngineCuts())
    yield found
    found.close()


def published(buffers: ShardBuffers, number: int) -> WeightVersion:
    shard, _ = buffers.pack([("t", tensor(number, NBYTES))], rank=0)
    return WeightVersion(
        stream="policy", version=number, attempt=1, stage="rl", step=number, shards=[shard]
    )


def memory(read: ShardRead) -> torch.Tensor:
    return manifest.allocate(read.nbytes)


def test_versions_go_on_past_a_reader_that_hangs(
    buffers: ShardBuffers, hung: WeightsSource
) -> None:
    """Also the buffer that it reads is used again; another engine reads the newest version."""
    first = published(buffers, 1)
    hung.begin_and_stop(first)
    process = psutil.Process(hung.process.pid)
    wait_for("the reader to stop", lambda: process.status() == psutil.STATUS_STOPPED)
    for number in range(2, BUFFERS + 2):
        newest = published(buffers, number)
    assert newest.shards[0].nixl_address == first.shards[0].nixl_address
    reader = NixlReader()
    fetched = Fetcher({NIXL: reader}, memory).fetch(newest, reads_of(newest, needed(newest)))
    (block,) = newest.shards[0].blocks
    found = manifest.view(block, fetched.buffers[0])
    assert torch.equal(found, tensor(newest.version, NBYTES))
    reader.close()
