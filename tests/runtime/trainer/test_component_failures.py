"""Real processes that fail: their supervisor reports the cause, not its consequences."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sea_api.v1alpha1.policy import Cause
from sea_runtime.store.folders import download_folder, upload_folder
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.trainer.context import PodSettings
from sea_runtime.trainer.supervisor import Supervisor
from sea_runtime.wire.membership import Heartbeat, HeartbeatReply, PodState, TrainerWorld
from sea_runtime.wire.trainer import TrainerTask
from sea_testing.fake_coordinator import FakeCoordinator
from sea_testing.loopback import own_address, port_on
from sea_testing.waiting import HANG_S, wait_for

pytestmark = pytest.mark.component
PROBE = Path(__file__).with_name("collective_probe.py")
PODS = ["job-trainer-0", "job-trainer-1"]
STAGE = {"type": "SFT", "sft": {"batchSize": 4, "maxSteps": 2}}


def lacking(store: ObjectStore, folder: Path, tensor: str) -> str:
    """A copy of the base model without one tensor; its URL."""
    from safetensors.torch import load_file, save_file

    download_folder(store, "s3://runs/base", folder)
    tensors = load_file(folder / "model.safetensors")
    del tensors[tensor]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    upload_folder(store, folder, "s3://runs/lacking-base")
    return "s3://runs/lacking-base"


async def first_failure(coordinator: FakeCoordinator, folder: Path) -> Heartbeat:
    """Runs one supervisor per pod; the first failure that the coordinator hears of."""
    host = own_address()
    world = TrainerWorld(
        attempt=1, pods=PODS, processes_per_pod=1, master_address=host, master_port=port_on(host)
    )
    coordinator.reply = HeartbeatReply(run=True, world=world)
    pods = [
        Supervisor(PodSettings(pod, "127.0.0.1", coordinator.url, "token", folder / pod, 1))
        for pod in PODS
    ]
    running = [asyncio.create_task(one.run()) for one in pods]

    def failed() -> list[Heartbeat]:
        return [one for one in coordinator.heartbeats if one.state is PodState.FAILED]

    try:
        found: list[Heartbeat] = await asyncio.to_thread(wait_for, "a failure", failed)
        return found[0]
    finally:
        for one in pods:
            one.stop()
        await asyncio.gather(*running)


async def test_a_mistake_is_reported_before_its_consequences(
    store: ObjectStore,
    base: Path,
    coordinator: FakeCoordinator,
    make_task: Callable[..., TrainerTask],
    tmp_path: Path,
) -> None:
    """The coordinator keeps the first failure: the sentence, never a broken connection.

    Every rank checks the folder, so either may be the first.
    """
    tensor = "model.layers.0.mlp.experts.0.up_proj.weight"
    url = await asyncio.to_thread(lacking, store, tmp_path / "model", tensor)
    task = make_task("lacking", STAGE)
    coordinator.task = task.model_copy(update={"initial_model": url})

    async def hold(beat: Heartbeat) -> None:
        """Takes rank 0's failure only after more heartbeats of rank 1's pod."""
        if beat.state is PodState.FAILED and beat.pod == PODS[0]:
            enough = len(of_rank_1()) + 3
            while len(of_rank_1()) < enough:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    def of_rank_1() -> list[Heartbeat]:
        return [one for one in coordinator.heartbeats if one.pod == PODS[1]]

    coordinator.before_heartbeat = hold
    failure = await first_failure(coordinator, tmp_path)
    assert failure.cause is Cause.USER_ERROR
    assert f"has no tensor {tensor}" in failure.detail


async def test_a_layout_that_does_not_fit_is_a_mistake_of_the_user(
    base: Path,
    coordinator: FakeCoordinator,
    make_task: Callable[..., TrainerTask],
    tmp_path: Path,
) -> None:
    # Valid by itself, but the attempt has two processes: the trainer checks what it was given.
    trainer = {"replicas": 4, "gpusPerPod": 0, "parallelism": {"expert": 4}}
    coordinator.task = make_task("layout", STAGE, trainer=trainer)
    failure = await first_failure(coordinator, tmp_path)
    assert failure.cause == Cause.USER_ERROR
    assert "This attempt has 2 processes, no multiple of 4" in failure.detail


@pytest.fixture
def probes() -> Iterator[Callable[[float], list[subprocess.Popen[str]]]]:
    """Two ranks that have joined; their collective has the given time-out in seconds."""
    started: list[subprocess.Popen[str]] = []

    def start(timeout_s: float) -> list[subprocess.Popen[str]]:
        host = own_address()
        place = [host, str(port_on(host)), str(timeout_s)]
        for rank in (0, 1):
            command = [sys.executable, "-W", "ignore", str(PROBE), str(rank), *place]
            pipe = subprocess.PIPE
            started.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True))
        for one in started:
            assert one.stdout is not None
            assert one.stdout.readline() == "joined\n"
        return started

    yield start
    for one in started:
        one.kill()
        one.wait(HANG_S)


def test_a_collective_that_times_out_is_a_hang(
    probes: Callable[[float], list[subprocess.Popen[str]]],
) -> None:
    first, _ = probes(1.0)
    assert first.stdout is not None
    assert first.stdout.readline() == "Hang\n"


def test_a_peer_that_is_gone_is_no_hang(
    probes: Callable[[float], list[subprocess.Popen[str]]],
) -> None:
    first, second = probes(HANG_S)
    os.kill(second.pid, signal.SIGKILL)
    assert first.stdout is not None
    assert first.stdout.readline() == "ProcessExit\n"
