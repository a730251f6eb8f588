"""Workaround for vLLM 0.32.0 on CPU: with tied embeddings an update leaves the old output head.

The head shares the embedding's weight and has none of its own, so an update fills no layer for it;
but on a CPU it computes with a packed copy, made once. Nothing fails: only the
log-probabilities are wrong.
"""

from collections.abc import Collection

import torch
from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead


def repack_heads(model: torch.nn.Module, filled: Collection[torch.nn.Module]) -> int:
    """Call after an update on a CPU; returns how many heads were packed again.

    Args:
        filled: layers of the update, which were packed when they were filled.
    """
    heads = [
        module
        for module in model.modules()
        if isinstance(module, ParallelLMHead) and module not in filled
    ]
    for head in heads:
        head.quant_method.process_weights_after_loading(head)
    return len(heads)
