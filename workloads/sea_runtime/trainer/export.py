"""Writes the final model of a stage as a Hugging Face folder that transformers and vLLM load.

Each rank uploads one safetensors shard with the tensors it publishes (no gather); rank 0 adds
index, configuration and tokenizer, and `READY.json` last.
"""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from sea_data import urls
from sea_data.models import exported
from sea_runtime.store.folders import upload_folder
from sea_runtime.trainer import background
from sea_runtime.trainer.context import RankContext
from sea_runtime.trainer.hf_weights import published_tensors
from sea_runtime.trainer.model import Model
from sea_runtime.wire.trainer import TrainerTask

log = logging.getLogger(__name__)
INDEX = "model.safetensors.index.json"
READY = "READY.json"


def shard_name(number: int, count: int) -> str:
    return f"model-{number:05d}-of-{count:05d}.safetensors"


def index(shards: list[dict[str, int]]) -> dict[str, Any]:
    """`model.safetensors.index.json` of shards, given in order as {tensor name: bytes}."""
    weights = {
        name: shard_name(number, len(shards))
        for number, shard in enumerate(shards, 1)
        for name in shard
    }
    total = sum(sum(shard.values()) for shard in shards)
    return {"metadata": {"total_size": total}, "weight_map": dict(sorted(weights.items()))}


def export(
    context: RankContext, task: TrainerTask, model: Model, initial: Path, version: int
) -> None:
    """Uploads the model to `stages/<stage>/export/`. Collective."""
    url = urls.join(task.run_url, "stages", task.stage, "export")
    # safetensors refuses non-contiguous tensors, and some of these are views of fused parameters.
    tensors = {name: tensor.cpu().contiguous() for name, tensor in published_tensors(model).items()}
    # Every rank needs all sizes: its own shard's number and the total are part of the file name.
    sizes = context.control.all_gather({name: tensor.nbytes for name, tensor in tensors.items()})
    shards = [shard for shard in sizes if shard]
    folder = context.pod.data_dir / "export" / f"{task.stage}-rank-{context.assignment.rank}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if tensors:
        number = sum(1 for shard in sizes[: context.assignment.rank + 1] if shard)
        save_file(tensors, folder / shard_name(number, len(shards)), metadata={"format": "pt"})
    if context.leads:
        (folder / INDEX).write_text(json.dumps(index(shards), indent=1))
        copy_others(initial, folder, next(iter(tensors.values())).dtype)
    # All ranks, also those without files: see `background.rank_barrier`.
    background.rank_barrier(context, "export", lambda: upload_folder(context.store, folder, url))
    if context.leads:
        # Only after the barrier above: a folder with READY.json is complete.
        ready = {"version": version, "stage": task.stage, "attempt": context.attempt}
        context.store.put(urls.join(url, READY), json.dumps(ready).encode())
    shutil.rmtree(folder, ignore_errors=True)
    # No rank leaves before READY.json is written: `complete` then reports the stage as done.
    context.control.barrier()


def copy_others(initial: Path, folder: Path, dtype: Any) -> None:
    """Copies tokenizer, template and generation settings as they are; adapts config.json."""
    for file in initial.iterdir():
        if file.is_file() and exported.is_copied(file.name):
            shutil.copy(file, folder / file.name)
    config = folder / "config.json"
    text = exported.configuration(config.read_text(), str(dtype).removeprefix("torch."))
    config.write_text(text)
