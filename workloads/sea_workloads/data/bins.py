"""How many sequences of the context length dialogues of given lengths take. Pure.

Best fit, longest first; each dialogue stays whole.
"""

import bisect
from collections.abc import Sequence


def packed(lengths: Sequence[int], context: int) -> list[list[int]]:
    """Indices of the dialogues of each sequence; none is longer than `context` tokens.

    A dialogue goes into the fullest sequence that still has room for it.
    """
    rooms: list[tuple[int, int]] = []
    sequences: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        place = bisect.bisect_left(rooms, (lengths[index], -1))
        if place < len(rooms):
            room, number = rooms.pop(place)
        else:
            room, number = context, len(sequences)
            sequences.append([])
        sequences[number].append(index)
        bisect.insort(rooms, (room - lengths[index], number))
    return sequences
