"""Which tokens a batch has to compute: shared prompts once, and none after the last loss.

The trajectories of a group begin with the same prompt: system prompt, tools, the task. Causal
attention makes its hidden states the same in all of them, so a row computes the prompt with the
first one, and the others attend to it there (`attention.py`). What comes after the last token with
a loss influences no loss. Values and gradients are those of whole sequences. Pure.

Called by `packing.plan_chosen`. With 16 trajectories per prompt, a third of whose tokens is the
prompt, 31 % of the tokens aren't computed.

The idea: Prefix Grouper, https://arxiv.org/abs/2506.05433.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = list[NDArray[Any]]
"""One array [S] per sequence of the batch, by the sequence's index."""
PerToken = Rows | Mapping[int, NDArray[Any]]
"""The same for the sequences that are computed, at least."""
MIN_SHARED = 16
"""Tokens: sharing fewer isn't worth another call of the attention kernel."""


@dataclass(frozen=True)
class Part:
    """The tokens of a sequence that a row computes."""

    index: int
    """Index of the sequence in the batch."""
    begin: int
    """First token; those before are those of the bundle's first sequence."""
    end: int
    """After the last token."""

    @property
    def tokens(self) -> int:
        return self.end - self.begin


Bundle = tuple[Part, ...]
"""Sequences of one row; the first begins at 0, the others share their first tokens with it."""


def whole(lengths: Sequence[int]) -> list[Bundle]:
    """Each sequence by itself, all of its tokens."""
    return [(Part(index, 0, length),) for index, length in enumerate(lengths)]


def bundles(
    tokens: Rows, chosen: Sequence[int], wanted: PerToken, most_tokens: int, *, share: bool
) -> list[Bundle]:
    """What has to be computed of the chosen sequences, in their order; an index may be there twice.

    Args:
        wanted: non-zero on the tokens whose log-probability is read, [S] per sequence.
        most_tokens: of a bundle; a single sequence may be longer.
        share: false computes every prompt again, where attention can't reach across sequences.
    """
    found: list[list[Part]] = []
    for index in chosen:
        read = np.flatnonzero(wanted[index][1:]) + 1  # nothing predicts a first token
        end = int(read[-1]) + 1 if len(read) else 0
        if share and found and end:
            head = found[-1][0]
            size = sum(part.tokens for part in found[-1])
            # The token before the first one that is read predicts it: it is computed here.
            most = min(head.end, int(read[0]) - 1)
            shared = _common(tokens[index][:most], tokens[head.index][:most])
            if shared >= MIN_SHARED and size + end - shared <= most_tokens:
                found[-1].append(Part(index, shared, end))
                continue
        found.append([Part(index, 0, end)])
    return [tuple(bundle) for bundle in found]


def _common(a: NDArray[Any], b: NDArray[Any]) -> int:
    """Number of equal first elements."""
    size = min(len(a), len(b))
    different = np.flatnonzero(a[:size] != b[:size])
    return int(different[0]) if len(different) else size


def indices(row: Sequence[Bundle]) -> Iterator[int]:
    """Indices of the sequences of several bundles, in order."""
    for one in row:
        yield from (part.index for part in one)
