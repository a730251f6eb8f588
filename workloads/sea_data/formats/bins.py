"""Packing: which sequences lie together in one row of tokens. Pure.

`sea data stats` counts rows with `packed`; the trainer (`trainer/packing.py`) starts from that
count and evens its ranks out with `balanced`. Each sequence stays whole.
"""

import bisect
import heapq
from collections.abc import Sequence


def packed(lengths: Sequence[int], context: int) -> list[list[int]]:
    """Indices of the sequences of each row, best fit, longest first.

    A sequence goes into the fullest row that still has room for it, so no row is longer than
    `context` tokens, but for one that a single longer sequence has to itself.
    """
    rooms: list[tuple[int, int]] = []
    rows: list[list[int]] = []
    for index in _longest_first(lengths):
        place = bisect.bisect_left(rooms, (lengths[index], -1))
        if place < len(rooms):
            room, number = rooms.pop(place)
        else:
            room, number = context, len(rows)
            rows.append([])
        rows[number].append(index)
        bisect.insort(rooms, (room - lengths[index], number))
    return rows


def balanced(lengths: Sequence[int], count: int) -> list[list[int]]:
    """Indices of the sequences of each of `count` rows of about equal length.

    The longest sequence left goes to the shortest row (Graham's LPT rule: the longest row is at
    most 4/3 of the best possible one).
    """
    rows: list[list[int]] = [[] for _ in range(count)]
    heap = [(0, number) for number in range(count)]
    for index in _longest_first(lengths):
        tokens, number = heap[0]
        rows[number].append(index)
        heapq.heapreplace(heap, (tokens + lengths[index], number))
    return rows


def _longest_first(lengths: Sequence[int]) -> list[int]:
    return sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
