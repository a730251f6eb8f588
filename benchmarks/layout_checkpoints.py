"""Checkpoints of the layouts in `layouts.py`: saved by the ranks of one, read by those of another.

As the trainer saves and reads them, in a folder instead of an object store.
"""

import itertools
import math
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from layout_training import build, sft_steps, stage_of

from sea_runtime.parallel.hf_config import ModelShape
from sea_runtime.parallel.parallel_layout import Place
from sea_runtime.store.folders import sha256_of
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.trainer.checkpoint import state as states
from sea_runtime.trainer.checkpoint.commit import Commits
from sea_runtime.trainer.checkpoint.head import (
    Manifest,
    SavedLayout,
    index_name,
    state_name,
)
from sea_runtime.trainer.checkpoint.index import KINDS
from sea_runtime.trainer.checkpoint.reader import CheckpointReader
from sea_runtime.trainer.checkpoint.staging import StagedSave
from sea_runtime.trainer.checkpoint.state import RankState
from sea_runtime.trainer.stage_trainer import StageTrainer
from sea_runtime.wire.checkpoints import FORMAT, StoredObject


def save(shape: ModelShape, place: Place, folder: Path, checkpoint: Path) -> list[float]:
    """Two steps, a checkpoint, two more: the losses of these."""
    stage = stage_of(build(shape, place, folder))
    sft_steps(stage, 2)
    _write(stage, checkpoint)
    return [one["loss"] for one in sft_steps(stage, 2)]


def _write(stage: StageTrainer, checkpoint: Path) -> None:
    """This rank's part of a checkpoint."""
    place = stage.model.place
    state, store = RankState(stage.model, stage.optimizer), FolderStore(checkpoint)
    staged = StagedSave(state, torch.zeros(state.nbytes, dtype=torch.uint8))
    index = staged.upload(store, f"s3://b/{state_name(place.rank)}")
    store.put(f"s3://b/{index_name(place.rank)}", index.model_dump_json().encode())
    (checkpoint / "layout").write_text(SavedLayout.of(place.layout).model_dump_json())


def load(shape: ModelShape, place: Place, folder: Path, checkpoint: Path) -> list[float]:
    """The losses of two steps after the checkpoint."""
    stage = stage_of(build(shape, place, folder))
    states.prepare_load(stage.optimizer)
    state = RankState(stage.model, stage.optimizer)
    memory, reader = state.memory(), _reader(checkpoint, shape)
    reader.read(state.wanted(), KINDS, lambda *one: states.place(memory, *one), prefer=place.rank)
    index = reader.index(0)
    state.finish_load(memory, index.optimizer_step, torch.get_rng_state().numpy().tobytes())
    return [one["loss"] for one in sft_steps(stage, 2)]


@dataclass(frozen=True)
class Lost:
    """What a rank saw of another's death."""

    seconds: float
    """From the kill to this rank's error."""
    error: str
    """Its type."""
    losses: list[float]
    """Of the step after the checkpoint, which the next attempt repeats."""


def lose_a_rank(shape: ModelShape, place: Place, folder: Path, checkpoint: Path, lost: int) -> Lost:
    """A step, a checkpoint, a step, and one in which rank `lost` is killed between two collectives;
    on the other ranks.
    """
    stage = stage_of(build(shape, place, folder))
    sft_steps(stage, 1)
    _write(stage, checkpoint)
    losses = [one["loss"] for one in sft_steps(stage, 1)]
    when = checkpoint / "killed"
    calls = itertools.count()

    def alive() -> None:
        if place.rank == lost and next(calls) == 1:
            when.write_text(str(time.time()))
            os.kill(os.getpid(), signal.SIGKILL)

    context: Any = stage.context
    context.status.alive = alive
    try:
        sft_steps(stage, 1)
    except Exception as error:
        return Lost(time.time() - float(when.read_text()), type(error).__name__, losses)
    return Lost(math.inf, "none: the step ended without the rank", losses)


class FolderStore(ObjectStore):
    """The calls of an object store that a rank makes, on a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _file(self, url: str) -> Path:
        return self._folder / url.rpartition("/")[2]

    def get(self, url: str) -> bytes:
        return self._file(url).read_bytes()

    def put(self, url: str, body: bytes) -> str:
        self._file(url).write_bytes(body)
        return ""

    def put_large(self, url: str, data: Any, size: int) -> None:
        self._file(url).write_bytes(data)

    def read_into(self, url: str, out: memoryview, start: int = 0) -> int:
        with self._file(url).open("rb") as file:
            file.seek(start)
            return file.readinto(out)


def _reader(checkpoint: Path, shape: ModelShape) -> CheckpointReader:
    """A reader of a checkpoint that ranks saved to the folder."""
    objects = [
        StoredObject(
            key=file.name,
            name=file.name,
            size=file.stat().st_size,
            sha256=sha256_of(file) if file.suffix == ".json" else "",
        )
        for file in checkpoint.glob("rank-*")
    ]
    layout = SavedLayout.model_validate_json((checkpoint / "layout").read_text())
    manifest = Manifest(
        format=FORMAT,
        stage="stage",
        step=2,
        attempt=1,
        stream="policy",
        version=2,
        world_size=layout.world_size,
        layout=layout,
        finished=False,
        objects=objects,
        ledger=None,
        time=0.0,
    )
    return CheckpointReader(Commits(FolderStore(checkpoint), "s3://b", "", 1), manifest, shape)
