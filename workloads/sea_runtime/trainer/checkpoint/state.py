"""The state that a rank saves and loads: its share of the distributed optimizer.

Main parameters and Adam's moments, sharded over the replicas of each parameter by Megatron's
DistributedOptimizer, are all there is: the model's parameters are the main parameters rounded, and
are gathered from them after a load. So a save needs no collective and no memory but its copy.
Megatron's own formats either gather the whole optimizer first (`fully_reshardable`, most of the
stall of a save, and as much memory again) or can't be loaded by another tensor, pipeline or expert
size (`dp_reshardable`).
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sea_api.v1alpha1.data import Precision
from sea_runtime.parallel import weight_map
from sea_runtime.trainer.checkpoint.index import (
    ITEM_SIZES,
    KINDS,
    ParameterRun,
    RankIndex,
    Section,
    sections,
)
from sea_runtime.trainer.checkpoint.reshard import Copy, Wanted, held_by_run
from sea_runtime.trainer.device import device_names, has_cuda, training_device
from sea_runtime.trainer.hf_weights import live_parameters
from sea_runtime.trainer.model import Model
from sea_runtime.trainer.optimizer import Optimizer

Memory = dict[str, dict[str, Tensor]]
"""Flat tensors to load into, by parameter and kind."""


@dataclass(frozen=True)
class _Share:
    """What one of the chained optimizers holds of one parameter."""

    run: ParameterRun
    part: Any
    """Megatron's DistributedOptimizer."""
    parameter: Tensor
    """The model's."""

    @property
    def is_packed(self) -> bool:
        """The state is stored in another form than FP32 (moments in BF16, TransformerEngine)."""
        return bool(self.part.config.use_precision_aware_optimizer_no_fp8_or_ds_fp8)

    def tensors(self) -> dict[str, Tensor]:
        """By kind, flat. Views of the live state, but for moments in BF16 (TransformerEngine)."""
        found = self.part._get_main_param_and_optimizer_states(self.parameter)
        return {kind: found[kind].detach().view(-1) for kind in KINDS}


class RankState:
    """One rank's share of the state, as the bytes of one object.

    The optimizer has moments only after its first step, or after `prepare_load`.
    """

    def __init__(self, model: Model, optimizer: Optimizer) -> None:
        self._model, self._optimizer = model, optimizer
        # Here, on the training thread: in others CUDA's current device is another one.
        self._device = training_device()
        self._shares = list(_shares(model, optimizer))
        self.runs = [one.run for one in self._shares]
        elements = [run.elements for run in self.runs]
        self._starts = [0, *accumulate(elements)]
        self.sections, self.nbytes = sections(_dtypes(optimizer), sum(elements))

    def index(self) -> RankIndex:
        """Describes the state as it is now, without the checksums of its copy."""
        return RankIndex(
            rank=self._model.place.rank,
            runs=self.runs,
            sections=self.sections,
            nbytes=self.nbytes,
            pieces=[],
            optimizer_step=_steps(self._optimizer),
            rng=base64.b64encode(torch.get_rng_state().numpy().tobytes()).decode(),
        )

    @torch.no_grad()
    def copy(self, out: Tensor, start: int = 0) -> None:
        """Copies the object's bytes from `start` on into `out`, uint8 on the host.

        Args:
            start: a multiple of `index.ALIGNMENT`.
        """
        for first, share in zip(self._starts, self._shares, strict=False):
            tensors: Mapping[str, Tensor] | None = None
            for section in self.sections:
                overlap = _overlap(section, first, share.run, start, len(out))
                if overlap is None:
                    continue
                # Once per share: moments in BF16 are converted by each call.
                tensors = tensors or share.tensors()
                source, target = overlap
                there = out[target].view(getattr(torch, section.dtype))
                there.copy_(tensors[section.kind][source], non_blocking=True)
        # Copies to pinned memory may be under way: the caller may change the state after this.
        if has_cuda():
            torch.cuda.synchronize(self._device)

    def wanted(self) -> list[Wanted]:
        """The rectangles of Hugging Face tensors that the runs are; `name` is the parameter."""
        shape, place = self._model.shape, self._model.place
        blocks = weight_map.blocks_by_parameter(shape, place)
        return [
            Wanted(run.parameter, tensor, held)
            for run, share in zip(self.runs, self._shares, strict=True)
            for tensor, held in held_by_run(
                run, blocks.get(run.parameter, []), _columns(share.parameter), 0
            )
        ]

    def memory(self) -> Memory:
        """What to load into: the live state, or copies where it is stored in another form."""
        return {
            one.run.parameter: {
                kind: torch.zeros(len(tensor)) if one.is_packed else tensor
                for kind, tensor in one.tensors().items()
            }
            for one in self._shares
        }

    @torch.no_grad()
    def finish_load(self, memory: Memory, steps: int, rng: bytes) -> None:
        """Makes loaded values the state of model, optimizer and random numbers. Collective.

        Args:
            steps: optimizer steps that the state is of.
            rng: of torch's CPU generator.
        """
        for share in self._shares:
            loaded = memory[share.run.parameter]
            if share.is_packed:
                share.part._set_main_param_and_optimizer_states(share.parameter, loaded)
            own = share.parameter.data.view(-1)[share.run.start : share.run.stop]
            own.copy_(loaded["param"])
        _set_steps(self._optimizer, steps)
        with device_names():
            # Each replica has set its share of a parameter: as after a step, all get the whole.
            self._model.ddp.start_param_sync(force_sync=True)
        torch.set_rng_state(torch.from_numpy(np.frombuffer(rng, np.uint8).copy()))


@torch.no_grad()
def prepare_load(optimizer: Optimizer) -> None:
    """Creates the optimizer's states: torch's Adam has none before its first step to load into."""
    for part in optimizer.megatron.chained_optimizers:
        part._init_optimizer_states_with_dummy_values()


@torch.no_grad()
def place(memory: Memory, copy: Copy, kind: str, values: np.ndarray) -> None:
    """Puts what was read for a copy, [rows, columns], where it belongs.

    BF16 comes as uint16: numpy has no such type.
    """
    flat = memory[copy.target][kind]
    there = flat.as_strided(
        (copy.rows, copy.columns),
        (copy.target_stride, 1),
        flat.storage_offset() + copy.target_offset,
    )
    found = torch.from_numpy(np.ascontiguousarray(values))
    there.copy_(found.view(torch.bfloat16) if values.dtype == np.uint16 else found)


def _overlap(
    section: Section, first: int, run: ParameterRun, start: int, size: int
) -> tuple[slice, slice] | None:
    """Which elements of a run are which of the bytes `start` to `start + size` of the object."""
    width = ITEM_SIZES[section.dtype]
    begin = section.offset + first * width
    low, high = max(begin, start), min(begin + run.elements * width, start + size)
    if low >= high:
        return None
    return slice((low - begin) // width, (high - begin) // width), slice(low - start, high - start)


def _columns(parameter: Tensor) -> int:
    return parameter.shape[1] if parameter.dim() > 1 else 1


def _shares(model: Model, optimizer: Optimizer) -> Iterator[_Share]:
    """In the order of the model's parameters."""
    owners = {
        parameter: part
        for part in optimizer.megatron.chained_optimizers
        for parameter in part.model_param_gbuf_map
    }
    for name, parameter in live_parameters(model).items():
        part = owners.get(parameter)
        if part is None:  # other replicas hold all of it
            continue
        own = part._get_model_param_range_map(parameter)["param"]
        run = ParameterRun(parameter=name, start=own.start, stop=own.end)
        yield _Share(run, part, parameter)


def _dtypes(optimizer: Optimizer) -> Sequence[tuple[str, str]]:
    moments = "bfloat16" if optimizer.memory.moments is Precision.BF16 else "float32"
    return [("param", "float32"), *((kind, moments) for kind in KINDS[1:])]


def _steps(optimizer: Optimizer) -> int:
    """0 on a rank that holds no share of any parameter."""
    for part in optimizer.megatron.chained_optimizers:
        for holder in (*part.optimizer.param_groups, *part.optimizer.state.values()):
            if "step" in holder:
                return int(holder["step"])
    return 0


def _set_steps(optimizer: Optimizer, steps: int) -> None:
    for part in optimizer.megatron.chained_optimizers:
        # TransformerEngine's Adam counts per group, torch's per parameter, each in a tensor of its
        # own: it adds 1 in place.
        for group in part.optimizer.param_groups:
            if "step" in group:
                group["step"] = steps
        for state in part.optimizer.state.values():
            if "step" in state:
                state["step"] = torch.full_like(state["step"], steps)
