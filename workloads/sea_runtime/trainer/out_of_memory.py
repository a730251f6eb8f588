"""Names what ran out of memory: the rank, its pipeline stage, the item, and what would help."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sea_runtime.trainer.errors import RankOutOfMemoryError


@contextmanager
def naming(item: str, where: str, advice: str) -> Iterator[None]:
    """Turns a lack of memory within into a sentence.

    Args:
        item: what was being computed, e.g. `the backward pass of 32768 tokens`.
        where: e.g. `Rank 5 (pipeline stage 1 of 4)`.
        advice: what would need less, as an imperative.

    Raises:
        RankOutOfMemoryError: instead of torch's and Python's own errors.
    """
    try:
        yield
    # Only the types that are surely a lack of memory: a CPU's allocator raises a RuntimeError that
    # can't be told from others.
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise RankOutOfMemoryError(
            f"{where} ran out of memory in {item}{_held()}. {advice}"
        ) from error


def _held() -> str:
    """What this process has allocated on its GPU; empty on a CPU."""
    if not torch.cuda.is_available():
        return ""
    gib = torch.cuda.max_memory_allocated() / 2**30
    whole = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory / 2**30
    return f", with at most {gib:.1f} of {whole:.1f} GiB allocated"
