"""The order in which tasks are drawn: shuffled per epoch, the same after every restart."""

import hashlib
import random
from functools import lru_cache


@lru_cache(maxsize=4)
def epoch_order(rows: int, seed: int, epoch: int) -> tuple[int, ...]:
    """A permutation of `range(rows)`."""
    order = list(range(rows))
    random.Random(f"{seed}:{epoch}").shuffle(order)  # noqa: S311 (an order, not a secret)
    return tuple(order)


def row_at(cursor: int, rows: int, seed: int) -> int:
    """Index of the row for the `cursor`-th draw, counted from 0."""
    return epoch_order(rows, seed, cursor // rows)[cursor % rows]


def sampling_seed(*parts: object) -> int:
    """A 31-bit seed that depends on all parts and nothing else."""
    digest = hashlib.sha256(":".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def choose(rows: int, most: int | None, seed: int) -> list[int]:
    """Indices of the tasks of an evaluation: all, or a seeded choice in file order."""
    if most is None or most >= rows:
        return list(range(rows))
    return sorted(epoch_order(rows, seed, 0)[:most])
