"""Workaround for vLLM 0.32.0: each weight update warns of layers that have nothing to load.

`finalize_layerwise_reload` logs "RotaryEmbedding: Failed to load weights", whose tables are
computed, and with tied embeddings "ParallelLMHead: Failed to load weights", whose weight is the
embedding's. Both layers are right after the update. The same words about any other layer mean that
an update is incomplete, and stay.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import torch

LOGGER = "vllm.model_executor.model_loader.reload.layerwise"
MESSAGE = "%s: Failed to load weights"


def classes_without_weights(model: torch.nn.Module) -> frozenset[str]:
    """Names of classes none of whose layers has a parameter of its own.

    Call before a reload, which takes the layers apart. A shared parameter counts for the layer that
    comes first in the model.
    """
    seen: set[int] = set()
    own: Counter[str] = Counter()
    for layer in model.modules():
        parameters = {id(one) for one in layer.parameters(recurse=False)}
        # Adds 0 too: a class is in the counter even if no layer of it owns anything.
        own[type(layer).__name__] += len(parameters - seen)
        seen |= parameters
    return frozenset(name for name, count in own.items() if count == 0)


@contextmanager
def dropped(names: frozenset[str]) -> Iterator[None]:
    """Drops the warning about layers of these classes within the block."""

    def is_news(record: logging.LogRecord) -> bool:
        about = record.args[0] if isinstance(record.args, tuple) and record.args else None
        return not (record.msg == MESSAGE and about in names)

    logger = logging.getLogger(LOGGER)
    logger.addFilter(is_news)
    try:
        yield
    finally:
        logger.removeFilter(is_news)
