"""What a vLLM worker takes of every tensor: recorded once, then replayed at each weight update.

The model's own `load_weights` runs over placeholders that record each loader's slice and where it
lands (vLLM's recorders of its sharded transfer, without their Ray). `staging` then fetches just
these regions, and `replay` writes them without asking a loader again.

Written for vLLM 0.32.0. Runs in the engine's own loop, never during a forward pass: the parameters
are on `meta` meanwhile.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from vllm.distributed.weight_transfer.sharded_rdt_fake import BakeSink, FakeRDTTensor
from vllm.model_executor.layers.vocab_parallel_embedding import VocabParallelEmbedding
from vllm.model_executor.model_loader.reload import layerwise
from vllm.model_executor.model_loader.reload.utils import get_layer_size, get_layer_tensors
from vllm.model_executor.model_loader.weight_utils import default_weight_loader

from sea_runtime.errors import RuntimeFailure
from sea_runtime.parallel.regions import Region, UnsupportedRegionError, strided

TensorTypes = Mapping[str, tuple[torch.dtype, Sequence[int]]]
"""dtype and shape of every tensor of a version, by Hugging Face name."""


class UnsupportedModelError(RuntimeFailure):
    """A loader of this model needs values, or takes what no region of a tensor is."""

    permanent = True


@dataclass(frozen=True)
class Copy:
    """One assignment of a loader: a region of a tensor into a parameter."""

    parameter: str
    """Name within its layer."""
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    """Of the destination within the parameter's storage, in elements."""
    tensor: str
    region: Region

    def place(self) -> tuple[str, int]:
        """Sorts the copies of a layer by their destination."""
        return self.parameter, self.offset


@dataclass(frozen=True)
class Recording:
    """Everything that this worker loads, layer by layer in the model's order."""

    layers: tuple[tuple[nn.Module, tuple[Copy, ...]], ...]

    def needed(self) -> dict[str, list[Region]]:
        """The regions to fetch, by tensor; a tensor that this worker doesn't hold is absent.

        In the order in which the parameters hold them.
        """
        found: dict[str, list[Region]] = {}
        for _, copies in self.layers:
            for copy in sorted(copies, key=Copy.place):
                regions = found.setdefault(copy.tensor, [])
                if copy.region not in regions:
                    regions.append(copy.region)
        return found


def record(model: nn.Module, tensors: TensorTypes) -> Recording:
    """Runs the loaders over placeholders; the model's weights are as before afterwards.

    Raises:
        UnsupportedModelError: names the layer or tensor that can't be updated by slices.
    """
    sink = BakeSink()
    device = next(model.parameters()).device
    fakes = [
        (name, FakeRDTTensor(name, torch.Size(shape), dtype, device, sink=sink))
        for name, (dtype, shape) in tensors.items()
    ]
    # What loaders make themselves, such as expert maps, belongs where the model is.
    with torch.device(device), _loaders_recorded(model, sink):
        try:
            model.load_weights(fakes)
        except NotImplementedError as error:
            raise UnsupportedModelError(
                f"This model can't be updated by slices, one of its weight loaders needs values "
                f"(a quantized model?): {error} Use a model without quantization_config."
            ) from error
        layers = tuple(
            (layer, tuple(_copy(scatter, tensors) for scatter in scatters))
            for layer, scatters in sink.copies_by_layer.items()
        )
        for layer, copies in layers:
            _require_complete(layer, copies)
    return Recording(layers)


def _copy(scatter: Any, tensors: TensorTypes) -> Copy:
    name, chain = scatter.src
    try:
        region = _region(tensors[name][1], chain)
    except UnsupportedRegionError as error:
        raise UnsupportedModelError(
            f"The parameter {scatter.param_name} takes of the tensor {name} what slices can't say: "
            f"{error}"
        ) from error
    return Copy(scatter.param_name, scatter.offset, scatter.shape, scatter.stride, name, region)


def _region(shape: Sequence[int], chain: Sequence[tuple[str, Any, Any]]) -> Region:
    whole = view = torch.empty(tuple(shape), device="meta")
    for operation, args, kwargs in chain:
        # `contiguous` would copy, and the place in the tensor be lost; it moves nothing here.
        if operation != "contiguous":
            view = getattr(view, operation)(*args, **dict(kwargs))
    if view.untyped_storage()._cdata != whole.untyped_storage()._cdata:
        raise UnsupportedRegionError(f"One of {[name for name, *_ in chain]} copies the tensor.")
    return strided(shape, view.storage_offset(), view.shape, view.stride())


def _require_complete(layer: nn.Module, copies: Sequence[Copy]) -> None:
    """Padding of a vocabulary is in no tensor; anything else that isn't loaded would be garbage."""
    loaded = sum(prod(copy.shape) for copy in copies)
    if loaded < get_layer_size(layer) and not isinstance(layer, VocabParallelEmbedding):
        raise UnsupportedModelError(
            f"Of the {get_layer_size(layer)} weights of a {type(layer).__name__} the loaders "
            f"assign only {loaded}: this model can't be updated by slices."
        )


@contextmanager
def _loaders_recorded(model: nn.Module, sink: BakeSink) -> Iterator[None]:
    """Loaders tell the sink for which parameter they run; everything is put back afterwards."""
    layerwise.initialize_layerwise_reload(model)
    added: list[Tensor] = []
    replaced: list[tuple[Tensor, Callable[..., Any]]] = []
    for layer in model.modules():
        for name, tensor in get_layer_tensors(layer).items():
            known = getattr(tensor, "weight_loader", None)
            inner = layerwise._get_original_loader(tensor) if known else default_weight_loader
            if known is None:
                added.append(tensor)
            else:
                replaced.append((tensor, inner))
            tensor.weight_loader = _stamping(inner, layer, name, sink)
    try:
        yield
    finally:
        # First, also after an error: the parameters are on `meta`, and requests go on.
        _place_kernel_tensors(model)
        for tensor in added:
            del tensor.weight_loader
        for tensor, inner in replaced:
            tensor.weight_loader = inner


def _stamping(
    inner: Callable[..., Any], layer: nn.Module, name: str, sink: BakeSink
) -> Callable[..., Any]:
    @functools.wraps(inner)
    def loader(*args: Any, **kwargs: Any) -> Any:
        sink.current = (layer, name)
        try:
            return inner(*args, **kwargs)
        finally:
            # A copy that no loader makes must not count for the last one's parameter.
            sink.current = None

    return loader


def _place_kernel_tensors(model: Any) -> None:
    """Ends a layerwise reload that loaded nothing."""
    for layer in model.modules():
        info = layerwise.LAYERWISE_INFO.get(layer)
        if info is not None and info.can_load():
            if info.kernel_tensors is not None:
                layerwise._place_kernel_tensors(layer, info)
            info.reset()
    if hasattr(model, "_original_do_torchao_reload"):
        model._do_torchao_reload = model._original_do_torchao_reload
