"""The model's weights in Hugging Face form: downloaded, loaded into a built model, and back.

Each rank reads only the tensors that it holds.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sea_runtime.parallel import hf_config
from sea_runtime.parallel.hf_config import ModelError
from sea_runtime.store.folders import download_folder
from sea_runtime.trainer import background, weight_map
from sea_runtime.trainer.context import RankContext
from sea_runtime.trainer.model import Model

COMPLETE = ".complete"
"""Marks a folder whose download finished."""


def download(context: RankContext, url: str) -> Path:
    """The pod's copy of the model folder at `url`; collective, once for all of its processes."""
    name = hashlib.sha256(url.encode()).hexdigest()[:16]
    folder = context.pod.data_dir / "models" / name

    def work() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        download_folder(context.store, url, folder)
        # Last: a kill during the download leaves a folder without the mark, which is downloaded
        # again.
        (folder / COMPLETE).touch()

    # One rank per pod downloads; the others wait for it in the barrier, whether or not they need
    # it.
    missing = context.assignment.local_rank == 0 and not (folder / COMPLETE).exists()
    background.rank_barrier(context, "download", work if missing else None)
    return folder


class SafetensorsFolder:
    """Tensors by name, of a folder with `model.safetensors` or with shards and their index.

    Raises (all methods): `ModelError` names what the folder lacks or what can't be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: dict[str, Any] = {}
        index, single = folder / "model.safetensors.index.json", "model.safetensors"
        if index.exists():
            self._files = self._indexed(index)
        elif (folder / single).exists():
            self._files = dict.fromkeys(self._file(single).keys(), single)
        else:
            raise ModelError(
                f"The model folder {folder} has neither {single} nor {index.name}: point "
                "model.source to a Hugging Face folder with safetensors."
            )

    def get(self, name: str) -> Tensor:
        file = self._files.get(name)
        if file is None:
            raise ModelError(
                f"The model folder has no tensor {name}, which its config.json implies."
            )
        tensor: Tensor = self._file(file).get_tensor(name)
        return tensor

    @staticmethod
    def _indexed(index: Path) -> dict[str, str]:
        try:
            return dict(json.loads(index.read_text())["weight_map"])
        except (KeyError, ValueError) as error:
            raise ModelError(f"The model's {index.name} can't be read: {error!r}.") from error

    def _file(self, name: str) -> Any:
        if name not in self._open:
            try:
                self._open[name] = safe_open(self.folder / name, "pt")
            except (OSError, SafetensorError) as error:
                raise ModelError(f"The model's {name} can't be read: {error}.") from error
        return self._open[name]


def _parameters(model: Model) -> dict[weight_map.Weight, Tensor]:
    """The rank's mapped weights, each with its live parameter."""
    named = dict(model.gpt.named_parameters())
    experts = model.layout.local_experts(model.shape.experts)
    found = weight_map.rank_weights(model.shape, experts, model.te)
    # A parameter without a counterpart would stay uninitialized and train silently.
    missing = {weight.megatron for weight in found} ^ named.keys()
    assert not missing, f"weight_map and model disagree on {sorted(missing)}"
    return {weight: named[weight.megatron] for weight in found}


@torch.no_grad()
def load(model: Model, folder: Path) -> None:
    """Copies the folder's weights into the model's parameters (any float type on disk).

    Raises:
        ModelError: a file can't be used, or its tensors aren't those that config.json implies.
    """
    # First: nothing is loaded from a folder of which a tensor would be left out.
    hf_config.check_files(model.shape, folder)
    tensors = SafetensorsFolder(folder)
    for weight, parameter in _parameters(model).items():
        parts = [tensors.get(name) for name in weight.hf]
        fused = weight_map.to_megatron(weight, parts, model.shape)
        if fused.shape != parameter.shape:
            raise ModelError(
                f"{weight.hf[0]} gives {tuple(fused.shape)} where config.json implies "
                f"{tuple(parameter.shape)}: config.json and safetensors don't belong together."
            )
        # In place: the parameter is a view of the DDP's buffer. Converts the dtype as well.
        parameter.copy_(fused)


def published_tensors(model: Model) -> dict[str, Tensor]:
    """What this rank publishes, by Hugging Face name.

    Views of the live parameters where the layout allows it: the next optimizer step changes them.
    """
    live = _parameters(model)
    # Dense weights are equal on all ranks and come from rank 0; experts from their first replica.
    found: dict[str, Tensor] = {}
    for weight in weight_map.published(
        live, dense=model.layout.rank == 0, experts=model.layout.writes_experts
    ):
        tensors = weight_map.to_hf(weight, live[weight].detach(), model.shape)
        found.update(zip(weight.hf, tensors, strict=True))
    return found
