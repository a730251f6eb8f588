"""What each token of a packed row attends to. Made by `packed_row.py` and `attention.py`, read by
the kernels (`attention_kernels.py`, `attention_cpu.py`); needs torch only.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Span:
    """Queries `start` to `end`. Query `start + i` attends to keys `own` to `own + i`, and to all of
    `head` to `head + shared`: what the sequence shares with another one, or has on other ranks.
    """

    start: int
    end: int
    own: int
    head: int = 0
    shared: int = 0

    @property
    def size(self) -> int:
        return self.end - self.start


class RowSpans:
    """The spans of a row, which cover its queries in order; as tensors, made once per row."""

    def __init__(
        self, spans: Sequence[Span], device: torch.device, read: Sequence[int] | None = None
    ) -> None:
        """`read`: the positions that have a query, sorted; None: all that the spans cover."""
        self.spans = tuple(spans)
        self.device = device
        self.read = None if read is None else tuple(read)

    @cached_property
    def longest_query(self) -> int:
        return max(span.size for span in self.spans)

    @cached_property
    def longest_key(self) -> int:
        return max(span.size + span.shared for span in self.spans)

    @cached_property
    def query_bounds(self) -> Tensor:
        """int32 [spans + 1]."""
        return self._bounds([span.size for span in self.spans])

    @cached_property
    def key_bounds(self) -> Tensor:
        """int32 [spans + 1], in the keys that `key_index` selects."""
        return self._bounds([span.size + span.shared for span in self.spans])

    @cached_property
    def read_index(self) -> Tensor:
        """int64 [R], `read`; only where it is given."""
        return torch.tensor(self.read, dtype=torch.int64, device=self.device)

    @cached_property
    def key_index(self) -> Tensor | None:
        """The keys of each span one after another; None if they are those of the row as it is."""
        if all(span.own == span.start and not span.shared for span in self.spans):
            return None
        keys = []
        for span in self.spans:
            keys += [range(span.head, span.head + span.shared)]
            keys += [range(span.own, span.own + span.size)]
        return torch.tensor(list(itertools.chain(*keys)), device=self.device)

    def _bounds(self, sizes: list[int]) -> Tensor:
        bounds = [0, *itertools.accumulate(sizes)]
        return torch.tensor(bounds, dtype=torch.int32, device=self.device)
