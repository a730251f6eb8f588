"""Writes the final model of a stage as a Hugging Face folder that transformers and vLLM load.

Each rank uploads safetensors files with the tensors that it publishes, one after another, so that
no rank ever holds the model; rank 0 adds index, configuration and tokenizer, and `READY.json` last.
"""

import json
import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from safetensors.torch import save_file

from sea_data import urls
from sea_runtime.parallel.export_files import ExportShard, index, shard_name, shards
from sea_runtime.store.folders import upload_folder
from sea_runtime.trainer import background, model_files
from sea_runtime.trainer.context import RankContext
from sea_runtime.trainer.hf_weights import iter_published
from sea_runtime.trainer.model import Model
from sea_runtime.trainer.model_files import READY
from sea_runtime.wire.trainer import TrainerTask

log = logging.getLogger(__name__)

NAME = "The export of the stage's model"
"""What sentences about it begin with."""
SHARD_BYTES = 4 << 30


def export(
    context: RankContext, task: TrainerTask, model: Model, initial: Path, version: int
) -> None:
    """Uploads the model to `stages/<stage>/export/`. Collective."""
    url = urls.join(task.run_url, "stages", task.stage, "export")
    dtype = model.gpt.config.params_dtype
    # Every rank computes the same list: its own files' numbers and the total are part of names.
    files = shards(model.shape, model.layout, dtype.itemsize, SHARD_BYTES)
    folder = context.pod.data_dir / "export" / f"{task.stage}-rank-{context.assignment.rank}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    mark = urls.join(url, READY)
    # While a stage is exported again, its folder must not look complete. No rank writes before
    # that.
    _on_rank_0(context, lambda: context.store.delete(mark))
    for turn in range(max(one.turn for one in files) + 1):
        _write(context, model, files, turn, folder, url)
    if context.leads:
        model_files.write(
            initial,
            folder,
            str(dtype).removeprefix("torch."),
            index(files),
            strips_thoughts=model_files.strips_thoughts(task),
        )
    # All ranks, also those without files: see `background.rank_barrier`.
    background.rank_barrier(context, NAME, lambda: upload_folder(context.store, folder, url))
    ready = {"version": version, "stage": task.stage, "attempt": context.attempt}
    # Only after the barrier above: a folder with READY.json is complete. No rank leaves before it
    # is written: `complete` then reports the stage as done.
    _on_rank_0(context, lambda: context.store.put(mark, json.dumps(ready).encode()))
    shutil.rmtree(folder, ignore_errors=True)


def _on_rank_0(context: RankContext, work: Callable[[], object]) -> None:
    """All ranks wait for it: in a thread, since an outage may outlast a collective."""
    background.rank_barrier(context, NAME, work if context.leads else None)


def _write(
    context: RankContext,
    model: Model,
    files: Sequence[ExportShard],
    turn: int,
    folder: Path,
    url: str,
) -> None:
    """Gathers, writes and uploads this rank's file of a turn, if it has one. Collective."""
    # Of all ranks: a tensor is gathered by those that hold a part of it.
    names = {name for one in files if one.turn == turn for name in one.sizes}
    # Copies: safetensors refuses views, and a gathered tensor doesn't outlive its turn.
    tensors = {
        name: tensor.to("cpu", copy=True).contiguous()
        for name, tensor in iter_published(model, names)
    }
    own = [
        number
        for number, one in enumerate(files, 1)
        if (one.rank, one.turn) == (context.assignment.rank, turn)
    ]

    def work() -> None:
        for number in own:
            name = shard_name(number, len(files))
            save_file(tensors, folder / name, metadata={"format": "pt"})
            context.store.upload_file(folder / name, urls.join(url, name))
            (folder / name).unlink()

    # Not next to the gathers of the next turn: an outage of the store may outlast a collective.
    background.rank_barrier(context, NAME, work if own else None)
