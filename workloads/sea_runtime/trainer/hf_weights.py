"""The model's weights in Hugging Face form: downloaded, loaded into a built model, and back.

What is where says `weight_map`; here the bytes are moved: each rank reads only its own parts, and
yields whole tensors for publishing and export one by one.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from megatron.core import parallel_state
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sea_data.models import fp8_blocks
from sea_data.models.fp8_blocks import Blocks
from sea_runtime import fp8_weights
from sea_runtime.parallel import hf_config, publications, weight_map
from sea_runtime.parallel.hf_config import ModelError
from sea_runtime.parallel.publications import Publication
from sea_runtime.parallel.weight_map import Block
from sea_runtime.store.folders import download_folder
from sea_runtime.trainer import background
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
    background.rank_barrier(context, "The download of the model", work if missing else None)
    return folder


class SafetensorsFolder:
    """Tensors by name, of a folder with `model.safetensors` or with shards and their index.

    FP8 weights are dequantized as they are read.

    Raises (all methods): `ModelError` names what the folder lacks or what can't be read.
    """

    def __init__(self, folder: Path, blocks: Blocks | None = None) -> None:
        self.folder, self._blocks = folder, blocks
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

    def read(self, name: str, shape: tuple[int, ...], index: tuple[slice, ...]) -> Tensor:
        """The part `index` of a tensor, which must have the given shape; reads only that part."""
        tensor: Tensor = self._slice(name, shape)[index]
        if self._blocks is None or tensor.dtype != torch.float8_e4m3fn:
            return tensor
        # All of its scales, a sixteen-thousandth of it; each element takes that of its block.
        grid = fp8_blocks.grid(shape, self._blocks)
        scales: Tensor = self._slice(name + fp8_blocks.SCALE, grid)[:]
        return fp8_weights.dequantized(tensor, scales, self._blocks, index)

    def _slice(self, name: str, shape: tuple[int, ...]) -> Any:
        file = self._files.get(name)
        if file is None:
            raise ModelError(
                f"The model folder has no tensor {name}, which its config.json implies."
            )
        stored = self._file(file).get_slice(name)
        found = tuple(stored.get_shape())
        if found != shape:
            raise ModelError(
                f"{name} has the shape {found} where config.json implies {shape}: config.json and "
                "safetensors don't belong together."
            )
        return stored

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


def te_name(parameter: str, *, experts: bool) -> str:
    """What TransformerEngine's layers call a parameter of the local layer spec.

    Norms are fused into the projection that follows them, experts are grouped.
    """
    name = parameter.replace(
        "input_layernorm.weight", "self_attention.linear_qkv.layer_norm_weight"
    )
    if not experts:
        name = name.replace("pre_mlp_layernorm.weight", "mlp.linear_fc1.layer_norm_weight")
    return re.sub(r"experts\.local_experts\.(\d+)\.(\w+)\.weight", r"experts.\2.weight\1", name)


def live_parameters(model: Model) -> dict[str, Tensor]:
    """The rank's live parameters by their names in `weight_map`."""
    named = dict(model.gpt.named_parameters())
    wanted = weight_map.parameter_shapes(model.shape, model.place)
    experts = model.shape.experts > 0
    own = {name: te_name(name, experts=experts) if model.te else name for name in wanted}
    # A parameter without a counterpart would stay uninitialized and train silently.
    different = set(own.values()) ^ named.keys()
    assert not different, f"weight_map and model disagree on {sorted(different)}"
    found = {name: named[there] for name, there in own.items()}
    shapes = {name: tuple(one.shape) for name, one in found.items()}
    assert shapes == wanted, {k: (shapes[k], wanted[k]) for k in wanted if shapes[k] != wanted[k]}
    return found


@torch.no_grad()
def load(model: Model, folder: Path) -> None:
    """Copies the rank's part of the folder's weights into its parameters.

    On disk they have any float type, or are FP8 in blocks.

    Raises:
        ModelError: a file can't be used, or its tensors aren't those that config.json implies.
    """
    # First: nothing is loaded from a folder of which a tensor would be left out.
    hf_config.check_files(model.shape, folder)
    tensors = SafetensorsFolder(folder, model.shape.fp8_blocks)
    shapes = weight_map.tensor_shapes(model.shape)
    parameters = live_parameters(model)
    if weight_map.padded_vocabulary(model.shape, model.layout) > model.shape.vocabulary:
        for name in weight_map.VOCABULARY & parameters.keys():
            parameters[name].zero_()  # no tensor has the rows that pad it
    for block in weight_map.blocks(model.shape, model.place):
        found = tensors.read(block.tensor, shapes[block.tensor], block.source)
        # In place: the parameter is a view of the DDP's buffer. Converts the dtype as well.
        parameters[block.parameter][block.target].copy_(found)


def published_shapes(model: Model) -> dict[str, tuple[int, ...]]:
    """Names and shapes of what this rank publishes, in the order of `iter_published`."""
    shapes = weight_map.tensor_shapes(model.shape)
    names = publications.names_by_rank(model.shape, model.layout).get(model.place.rank, [])
    return {name: shapes[name] for name in names}


@torch.no_grad()
def iter_published(
    model: Model, names: Collection[str] | None = None
) -> Iterator[tuple[str, Tensor]]:
    """The whole tensors that this rank publishes, by Hugging Face name, one after another.

    Collective: exhaust it on every rank. Holds one parameter of its group at a time. Yields views
    of live parameters where the layout allows it: the next optimizer step changes them.

    Args:
        names: only these and what is published with them, the same on every rank.
    """
    parameters = live_parameters(model)
    rank, shapes = model.place.rank, weight_map.tensor_shapes(model.shape)
    blocks: dict[int, dict[str, list[Block]]] = {}
    for one in publications.of_layout(model.shape, model.layout):
        if rank not in one.holders or (names is not None and one.tensors[0] not in names):
            continue
        # A collective of the holders: all of them come here, in the order of `publications`.
        parts = _gathered(parameters[one.parameter].detach(), one, rank)
        if rank != one.publisher:
            continue
        for holder in one.holders:
            if holder not in blocks:
                place = model.layout.place(holder)
                blocks[holder] = weight_map.blocks_by_parameter(model.shape, place)
        pieces = [
            (block, part)
            for holder, part in zip(one.holders, parts, strict=True)
            for block in blocks[holder].get(one.parameter, [])
        ]
        for name in one.tensors:
            own = [(block, part) for block, part in pieces if block.tensor == name]
            yield name, _assembled(own, shapes[name])


def _gathered(parameter: Tensor, one: Publication, rank: int) -> list[Tensor]:
    """The holders' parts of a parameter on the publisher, all of one shape; empty elsewhere."""
    if len(one.holders) == 1:
        return [parameter]
    group = (
        parallel_state.get_expert_tensor_parallel_group()
        if one.expert
        else parallel_state.get_tensor_model_parallel_group()
    )
    parts = None
    if rank == one.publisher:
        parts = [torch.empty_like(parameter) for _ in one.holders]
    dist.gather(parameter.contiguous(), parts, dst=one.publisher, group=group)
    return parts or []


def _assembled(pieces: list[tuple[Block, Tensor]], shape: tuple[int, ...]) -> Tensor:
    """A Hugging Face tensor from its blocks."""
    first, part = pieces[0]
    if len(pieces) == 1:
        return part[first.target]
    whole = torch.empty(shape, dtype=part.dtype, device=part.device)
    for block, part in pieces:
        whole[block.source] = part[block.target]
    return whole
