"""`python -m sea_runtime.trainer.process`: one training process, rank R of one attempt.

It imports torch and Megatron first and only then waits for its world (a JSON line on stdin, or the
usual RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT), so that a restart doesn't pay for the imports.
Exit codes: 0 stopped as told, 3 a newer attempt has taken over, 1 anything else.
"""

import logging
import os
import sys

from sea_api import logs
from sea_runtime.trainer.errors import FencedError
from sea_runtime.trainer.report import Report
from sea_runtime.trainer.supervision import FENCED
from sea_runtime.trainer.world import World

log = logging.getLogger("sea.trainer")
CLIENT_PATIENCE_S = 240.0


def _warm() -> None:
    """The slow imports, with what they need to work on this device."""
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    from sea_runtime.trainer.device import has_cuda

    if not has_cuda():
        from sea_runtime.trainer import megatron_cpu

        megatron_cpu.apply()
    from sea_runtime.trainer import stages  # noqa: F401


def _world() -> World | None:
    world = World.from_environment()
    if world is not None:
        return world
    line = sys.stdin.readline()
    return World.from_line(line) if line.strip() else None


def _train(world: World, report: Report) -> None:
    from sea_runtime.client.sync_client import CoordinatorClient
    from sea_runtime.store.s3 import ObjectStore
    from sea_runtime.trainer import groups, stages
    from sea_runtime.trainer.job import Job
    from sea_runtime.trainer.settings import PodSettings

    pod = PodSettings.from_environment()
    client = CoordinatorClient(pod.coordinator, pod.token, retry_timeout=CLIENT_PATIENCE_S)
    control = groups.join(world)
    report.joined(world.attempt)
    log.info("Attempt %d: rank %d of %d joined.", world.attempt, world.rank, world.size)
    stages.serve(Job(pod, world, control, client, ObjectStore(), report))


def cause_of(error: BaseException) -> str:
    """A value of sea_api's Cause for an error that ends the process."""
    text = f"{type(error).__name__}: {error}".lower()
    if isinstance(error, MemoryError) or "out of memory" in text:
        return "OutOfMemory"
    if "timed out" in text or "timeout" in text:
        return "Hang"
    return "ProcessExit"


def main() -> int:
    logs.configure_pod()
    logging.getLogger("megatron").setLevel(logging.WARNING)
    report = Report.from_environment()
    try:
        _warm()
        world = _world()
        if world is None:
            return 0
        logs.bind(rank=world.rank, attempt=world.attempt)
        _train(world, report)
    except FencedError as error:
        log.info("%s", error)
        return FENCED
    except Exception as error:
        log.exception("Training failed.")
        report.failed(cause_of(error), f"{type(error).__name__}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)  # threads of gloo, NIXL or an upload must not keep a finished process
