"""Checkpoints of the layouts in `layouts.py`: saved by the ranks of one, read by those of another.

As the trainer saves and reads them, in a folder instead of an object store.
"""

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
from sea_runtime.wire.checkpoints import FORMAT, StoredObject


def save(shape: ModelShape, place: Place, folder: Path, checkpoint: Path) -> list[float]:
    """Two steps, a checkpoint, two more: the losses of these."""
    stage = stage_of(build(shape, place, folder))
    sft_steps(stage, 2)
    state, store = RankState(stage.model, stage.optimizer), FolderStore(checkpoint)
    staged = StagedSave(state, torch.zeros(state.nbytes, dtype=torch.uint8))
    index = staged.upload(store, f"s3://b/{state_name(place.rank)}")
    store.put(f"s3://b/{index_name(place.rank)}", index.model_dump_json().encode())
    (checkpoint / "layout").write_text(SavedLayout.of(place.layout).model_dump_json())
    return [one["loss"] for one in sft_steps(stage, 2)]


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
    """Of a checkpoint that ranks saved to the folder."""
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
