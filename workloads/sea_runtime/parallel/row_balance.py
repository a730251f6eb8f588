"""How much work a sequence is, and rows of equal work. Pure.

A sequence of n tokens costs a n + b n^2: products with the weights, and causal attention. Rows with
the same number of tokens are therefore not equally long to compute: one sequence of 32k tokens
costs much more than 32 of 1k. Ranks wait for the slowest row of a microbatch, so `packing.plan`
balances rows by work and bounds them by tokens, which is what memory needs.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from sea_runtime.parallel.hf_config import ModelShape


@dataclass(frozen=True)
class SequenceWork:
    """Floating-point operations of one sequence's forward pass."""

    per_token: float
    per_token_squared: float

    @staticmethod
    def of(shape: ModelShape) -> "SequenceWork":
        """The work of a model, without its head: few tokens of a dialogue go through it."""
        queries = shape.heads * shape.head_dim
        keys = shape.kv_heads * shape.head_dim
        # Two operations per weight: q, k, v and output projection, then the MLP's three matrices.
        projections = 2 * shape.hidden * (2 * queries + 2 * keys)
        width = shape.experts_per_token * shape.expert_ffn if shape.experts else shape.ffn
        mlp = 2 * 3 * shape.hidden * width + 2 * shape.hidden * shape.experts
        # Scores and weighted values, 2 operations each per pair and query channel; causal: half.
        attention = 2 * queries
        return SequenceWork(
            float(shape.layers * (projections + mlp)), float(shape.layers * attention)
        )

    def __call__(self, tokens: int, shared: int = 0) -> float:
        """Work of a sequence whose first `shared` tokens are computed with another one."""
        computed = tokens - shared
        # Each computed token attends to all before it, the shared ones too.
        pairs = tokens * tokens - shared * shared
        return self.per_token * computed + self.per_token_squared * pairs


def balance(
    lengths: Sequence[int], work: Sequence[float], count: int, capacity: int
) -> list[list[int]] | None:
    """Distributes items over `count` rows of similar work; indices per row, most work first.

    The item with the most work left goes to the row with the least that has room for its tokens
    (Graham's LPT rule, with a bound).

    Args:
        lengths: tokens of each item: a sequence, or several that stay together.
        work: of each item.
        capacity: most tokens of a row; a longer item has a row of its own.

    Returns:
        None if there is no room for an item: try with more rows.
    """
    rows: list[list[int]] = [[] for _ in range(count)]
    # (work, tokens, row): the least work first.
    heap = [(0.0, 0, number) for number in range(count)]
    for index in sorted(range(len(lengths)), key=lambda i: (-work[i], -lengths[i], i)):
        full = []
        while heap and heap[0][1] and heap[0][1] + lengths[index] > capacity:
            full.append(heapq.heappop(heap))
        if not heap:
            return None
        done, tokens, number = heapq.heappop(heap)
        rows[number].append(index)
        heapq.heappush(heap, (done + work[index], tokens + lengths[index], number))
        for one in full:
            heapq.heappush(heap, one)
    sums = {number: done for done, _, number in heap}
    return [rows[number] for number in sorted(range(count), key=lambda i: (-sums[i], i))]
