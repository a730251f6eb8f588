"""Into which blocks a trainer cuts its tensors: an engine's worker reads whole blocks. Pure.

vLLM spreads a model over the workers of an engine (tensor parallelism): the projections into heads
and the MLP's width are cut by rows, those out of them by columns, and experts are either cut
likewise or, with expert parallelism, whole on one worker. A column slice of a row-major matrix is
a run per row: at TP 8 one worker of Qwen3-235B-A22B would read 49 million runs of 384 bytes. Cut
into these blocks beforehand each slice is one run.

Sizes are vLLM 0.32's; a block that an engine cuts elsewhere still works, it only reads more.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sea_runtime.parallel.regions import Region, cut

VOCABULARY_PADDING = 64
"""vLLM pads the vocabulary to a multiple of it before it is spread over workers."""
_COLUMNS = re.compile(r"\.(o_proj|down_proj)\.weight$")
_EXPERT = re.compile(r"\.experts\.\d+\.")
_KEY_VALUE = re.compile(r"\.[kv]_proj\.(weight|bias)$")
_ROWS = re.compile(r"\.(q|k|v|gate|up)_proj\.(weight|bias)$")
_VOCABULARY = re.compile(r"(embed_tokens|lm_head)\.weight$")


@dataclass(frozen=True)
class EngineCuts:
    """How the engines of a stream cut the model."""

    tensor: int = 1
    """Workers that share one replica of the model."""
    expert_parallel: bool = False
    kv_heads: int = 1
    """With fewer of them than workers, several workers hold the same one."""


def blocks(name: str, shape: Sequence[int], cuts: EngineCuts) -> list[Region]:
    """The regions of a Hugging Face tensor that workers take as they are; together the tensor."""
    parts = cuts.tensor
    if parts == 1 or (cuts.expert_parallel and _EXPERT.search(name)):
        return [Region.whole(shape)]
    if _VOCABULARY.search(name):
        padded = -(-shape[0] // VOCABULARY_PADDING) * VOCABULARY_PADDING
        return cut(shape, 0, _bounds(padded, parts))
    if _COLUMNS.search(name):
        return cut(shape, 1, _bounds(shape[1], parts))
    if _KEY_VALUE.search(name):
        return cut(shape, 0, _bounds(shape[0], min(parts, cuts.kv_heads)))
    if _ROWS.search(name):
        return cut(shape, 0, _bounds(shape[0], parts))
    # Norms and the router: every worker holds them.
    return [Region.whole(shape)]


def _bounds(size: int, parts: int) -> list[int]:
    return [part * size // parts for part in range(1, parts)]
