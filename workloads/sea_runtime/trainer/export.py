"""Writes the final model of a stage as a Hugging Face folder that transformers and vLLM load.

Each rank uploads one safetensors shard with the tensors it holds (no gather), rank 0 adds index,
configuration and tokenizer, and `READY.json` last.
"""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from sea_data import urls
from sea_runtime.store.folders import upload_folder
from sea_runtime.trainer.job import Job
from sea_runtime.trainer.model import Model
from sea_runtime.trainer.publisher import own_tensors
from sea_runtime.trainer.together import together
from sea_runtime.wire.trainer import TrainerTask

log = logging.getLogger(__name__)
INDEX = "model.safetensors.index.json"
READY = "READY.json"
_NOT_COPIED = (".safetensors", INDEX, READY, ".complete")


def shard_name(number: int, count: int) -> str:
    return f"model-{number:05d}-of-{count:05d}.safetensors"


def index(shards: list[dict[str, int]]) -> dict[str, Any]:
    """The index of shards given as {tensor name: bytes} in order."""
    weights = {
        name: shard_name(number, len(shards))
        for number, shard in enumerate(shards, 1)
        for name in shard
    }
    total = sum(sum(shard.values()) for shard in shards)
    return {"metadata": {"total_size": total}, "weight_map": dict(sorted(weights.items()))}


def configuration(text: str, dtype: str) -> str:
    """config.json of the initial model with the number format of the exported weights."""
    config = json.loads(text)
    config.pop("torch_dtype", None)
    config["dtype"] = dtype
    return json.dumps(config, indent=2)


def export(job: Job, task: TrainerTask, model: Model, initial: Path, version: int) -> str:
    """Uploads the model to `stages/<stage>/export/`; returns its address. Collective."""
    url = urls.join(task.run_url, "stages", task.stage, "export")
    tensors = {name: tensor.cpu().contiguous() for name, tensor in own_tensors(model).items()}
    sizes = job.control.all({name: tensor.nbytes for name, tensor in tensors.items()})
    shards = [shard for shard in sizes if shard]
    folder = job.pod.data_dir / "export" / f"{task.stage}-rank-{job.world.rank}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if tensors:
        number = sum(1 for shard in sizes[: job.world.rank + 1] if shard)
        save_file(tensors, folder / shard_name(number, len(shards)), metadata={"format": "pt"})
    if job.leads:
        (folder / INDEX).write_text(json.dumps(index(shards), indent=1))
        _copy_others(initial, folder, next(iter(tensors.values())).dtype)
    together(job, "export", lambda: upload_folder(job.store, folder, url))
    if job.leads:
        ready = {"version": version, "stage": task.stage, "attempt": job.attempt}
        job.store.put(urls.join(url, READY), json.dumps(ready).encode())
    shutil.rmtree(folder, ignore_errors=True)
    job.control.barrier()
    return url


def _copy_others(initial: Path, folder: Path, dtype: Any) -> None:
    for file in initial.iterdir():
        if file.is_file() and not file.name.endswith(_NOT_COPIED):
            shutil.copy(file, folder / file.name)
    config = folder / "config.json"
    config.write_text(configuration(config.read_text(), str(dtype).removeprefix("torch.")))
