"""Fills a built model from a Hugging Face folder; each rank reads only the tensors it holds."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from sea_runtime.trainer import hf_mapping
from sea_runtime.trainer.errors import ModelError
from sea_runtime.trainer.model import Model


class Tensors:
    """Tensors of a folder with `model.safetensors`, or shards and their index, by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: dict[str, object] = {}
        index = folder / "model.safetensors.index.json"
        if index.exists():
            self._files: dict[str, str] = json.loads(index.read_text())["weight_map"]
        elif (folder / "model.safetensors").exists():
            with safe_open(folder / "model.safetensors", "pt") as file:
                self._files = dict.fromkeys(file.keys(), "model.safetensors")
        else:
            raise ModelError(
                f"The model folder {folder} has neither model.safetensors nor "
                "model.safetensors.index.json: point model.source to a Hugging Face folder "
                "with safetensors."
            )

    def get(self, name: str) -> Tensor:
        """One tensor; ModelError names what the folder lacks."""
        file = self._files.get(name)
        if file is None:
            raise ModelError(
                f"The model folder has no tensor {name}, which its config.json implies."
            )
        if file not in self._open:
            self._open[file] = safe_open(self.folder / file, "pt")
        tensor: Tensor = self._open[file].get_tensor(name)  # type: ignore[attr-defined]
        return tensor


def parameters(model: Model, experts: Sequence[int]) -> dict[hf_mapping.Weight, Tensor]:
    """The rank's mapped weights with the live parameter of each."""
    named = dict(model.gpt.named_parameters())
    found = hf_mapping.weights(model.shape, experts, model.te)
    missing = {weight.megatron for weight in found} ^ named.keys()
    assert not missing, f"mapping and model disagree on {sorted(missing)}"
    return {weight: named[weight.megatron] for weight in found}


@torch.no_grad()
def fill(model: Model, folder: Path) -> None:
    """Copies the folder's weights into the model's parameters (any float type on disk)."""
    experts = model.layout.local_experts(model.shape.experts)
    tensors = Tensors(folder)
    for weight, parameter in parameters(model, experts).items():
        merged = hf_mapping.merge(weight, [tensors.get(name) for name in weight.hf], model.shape)
        if merged.shape != parameter.shape:
            raise ModelError(
                f"{weight.hf[0]} gives {tuple(merged.shape)} where config.json implies "
                f"{tuple(parameter.shape)}: config.json and safetensors don't belong together."
            )
        parameter.copy_(merged)
