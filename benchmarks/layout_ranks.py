"""Runs one function on every rank of a layout: child processes forked from this one, over gloo.

The parent has imported torch and Megatron (seconds), but never used them: a fork is a rank within
milliseconds. Import it in a program of its own, with CUDA_VISIBLE_DEVICES="".
"""

import os
import pickle
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from sea_runtime.parallel.parallel_layout import ParallelLayout, Place
from sea_runtime.trainer import megatron_workarounds, process_groups

Body = Callable[[Place], Any]
COLLECTIVE_SECONDS = 240.0


class RankError(Exception):
    """A rank raised or died; the message has its traceback."""


def run(
    layout: ParallelLayout, body: Body, limit_s: float = 600.0, *, killed: int | None = None
) -> list[Any]:
    """What `body` returns on each rank, by rank.

    Args:
        killed: a rank that ends without an answer; the others don't wait for it at the end.

    Raises:
        RankError: of the first rank that failed by itself, not of those that then lost it.
    """
    folder = Path(tempfile.mkdtemp(prefix="layout-"))
    alone = killed is not None
    children = {_fork(place, body, folder, alone): place.rank for place in layout.places}
    try:
        _wait(children, time.monotonic() + limit_s)
        return _answers([r for r in range(layout.world_size) if r != killed], folder)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(children: dict[int, int], deadline: float) -> None:
    """Takes those out that have ended."""
    while children and time.monotonic() < deadline:
        for child in tuple(children):
            if os.waitpid(child, os.WNOHANG)[0]:
                del children[child]
        time.sleep(0.01)


def _answers(ranks: list[int], folder: Path) -> list[Any]:
    found, failed = [], []
    for rank in ranks:
        file = folder / f"answer-{rank}"
        if not file.exists():
            failed.append((time.time(), f"rank {rank} died or hung"))
            continue
        when, error, answer = pickle.loads(file.read_bytes())  # noqa: S301 - our own children
        if error:
            failed.append((when, f"rank {rank}: {error}"))
        found.append(answer)
    if failed:
        raise RankError(min(failed)[1])
    return found


def _fork(place: Place, body: Body, folder: Path, alone: bool) -> int:
    child = os.fork()
    if child:
        return child
    answer, error = None, ""
    try:
        torch.set_num_threads(1)
        megatron_workarounds.apply(cuda=False, te=False)
        world = place.layout.world_size
        store = dist.FileStore(str(folder / "store"), world)
        dist.init_process_group("gloo", store=store, rank=place.rank, world_size=world)
        process_groups.build_model_parallel_groups(place.layout, COLLECTIVE_SECONDS)
        answer = body(place)
        if not alone:
            dist.barrier()  # a rank that leaves breaks the connections of the others
    except BaseException:
        error = traceback.format_exc()
    written = folder / f"writing-{place.rank}"
    written.write_bytes(pickle.dumps((time.time(), error, answer)))
    written.rename(folder / f"answer-{place.rank}")
    # No atexit handlers of the parent, and no threads of gloo that could hold the process.
    os._exit(0)
