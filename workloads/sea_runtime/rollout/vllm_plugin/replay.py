"""What requests wait for at a weight update: each layer's recorded copies, from host memory.

Does to one layer what vLLM's layerwise reload (`model_loader/reload/layerwise.py`) does to all,
with the recorded copies in place of its loaders, and only to layers that load something. The rest
of that reload is what took the time: for each of the model's parameters it wraps a loader, and it
moves every layer to `meta` and back. Layers that are not written keep what they have, so at most
one layer is in pieces at a time, and the memory for a second copy is one layer's.

Written for vLLM 0.32.0; `tests/runtime/rollout/engine` compares with a fresh load.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from vllm.model_executor.layers.attention import is_deferred_attention_layer
from vllm.model_executor.layers.quantization.base_config import QuantizeMethodBase
from vllm.model_executor.layers.vocab_parallel_embedding import VocabParallelEmbedding
from vllm.model_executor.model_loader.reload import layerwise
from vllm.model_executor.model_loader.reload.meta import materialize_layer, restore_layer_on_meta
from vllm.model_executor.model_loader.reload.utils import get_layer_params_buffers

from sea_runtime.rollout.vllm_plugin.recorder import Copy
from sea_runtime.rollout.vllm_plugin.staged_tensors import Write


def _nothing(_layer: nn.Module, _copies: Sequence[Copy]) -> None:
    pass


def replay(
    layer: Any,
    copies: Sequence[Copy],
    joined: Sequence[Write],
    loaded: Callable[[nn.Module, Sequence[Copy]], None] = _nothing,
) -> None:
    """Fills one layer.

    Args:
        copies: as they were recorded; `joined`: the same, as few writes.
        loaded: called when the parameters hold the tensors' elements as they are, before they get
            the form that kernels want.
    """
    method = getattr(layer, "quant_method", None)
    if not isinstance(method, QuantizeMethodBase):
        # Kernels read these parameters (norms, the router's bias) as loaders write them.
        _write(layer, joined)
        loaded(layer, copies)
        return
    info = layerwise.LAYERWISE_INFO[layer]
    # The tensors that kernels and captured graphs hold: their memory must stay the same.
    info.kernel_tensors = get_layer_params_buffers(layer)
    info.kernel_non_persistent_buffers = set(layer._non_persistent_buffers_set)
    restore_layer_on_meta(layer, info)
    materialize_layer(layer, info)
    if isinstance(layer, VocabParallelEmbedding):
        # Rows of padding, which no copy writes: their logits are cut off, but may not be NaN.
        layer.weight.data.zero_()
    _write(layer, joined)
    loaded(layer, copies)
    # vLLM sets it to skip a second processing, which an update needs.
    vars(layer).pop("_already_called_process_weights_after_loading", None)
    with info.restore_device:
        method.process_weights_after_loading(layer)
    if hasattr(layer, "update_param_tp_status"):
        layer.update_param_tp_status()
    layerwise._copy_and_restore_kernel_tensors(layer, info)
    info.reset()


def _write(layer: nn.Module, joined: Sequence[Write]) -> None:
    for one in joined:
        parameter: torch.Tensor = getattr(layer, one.parameter).data
        parameter.as_strided(one.shape, one.stride, one.offset).copy_(one.source)


def finish(model: nn.Module, dtype: torch.dtype) -> None:
    """Call once all layers are filled: attention may compute matrices of its own from theirs."""
    for layer in model.modules():
        if is_deferred_attention_layer(layer):
            process: Any = layer.process_weights_after_loading
            process(dtype)
