"""Dialogues -> token ids and masks within the context length, packed into rows of tokens.

The trainer trains on what `encode` yields and packs whole sequences into rows with `balance`;
`sea data stats` shows the counts of tokens and the rows of `pack` before a job runs.
"""

import bisect
import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sea_data.errors import RowError
from sea_data.formats.dialogue import Dialogue
from sea_data.formats.model_demands import Demand, demands, unmet
from sea_env.tokens.renderer import Renderer

Side = Callable[[Dialogue], Dialogue]
"""As one role sees a dialogue (`perspective`). Raises RowError."""


@dataclass
class TokenCounts:
    """What became of the tokens of all dialogues."""

    answer: int = 0
    """Trained: what the trained role writes, thinking and end tag included."""
    context: int = 0
    """Read but not trained: everything else up to the last answer that fits."""
    over_length: int = 0
    """Left out: answers that don't end within the context length, and what leads to them."""
    over_length_answers: int = 0
    """Tokens in `over_length` that would have been trained."""
    dialogues: int = 0
    """Dialogues that are trained on."""
    without_answer: int = 0
    """Dialogues without an answer that fits, or without an answer."""
    unreadable: list[RowError] = field(default_factory=list)
    """Why dialogues were left out: a call or a message that the model's format can't hold."""

    def as_metrics(self) -> dict[str, float]:
        """As metrics of a stage's progress."""
        return {
            "data_dialogues": float(self.dialogues),
            "data_answer_tokens": float(self.answer),
            "data_context_tokens": float(self.context),
            "data_over_length_tokens": float(self.over_length),
            "data_over_length_answer_tokens": float(self.over_length_answers),
            "data_dialogues_without_answer": float(self.without_answer),
            "data_dialogues_unreadable": float(len(self.unreadable)),
        }


@dataclass(frozen=True)
class Encoded:
    """One dialogue, or an exchange of it; `ids` and `mask` have one length."""

    ids: NDArray[np.int32]
    mask: NDArray[np.uint8]
    """1 on answers."""
    dialogue: tuple[str, str]
    """(file, id) of the dialogue that it comes from."""


def encode(
    dialogues: Iterable[Dialogue],
    renderer: Renderer,
    context: int,
    counts: TokenCounts,
    *,
    side: Side = lambda given: given,
    skip_bad: bool = False,
) -> Iterator[Encoded]:
    """Renders one side of dialogues; each ends after its last answer that fits into `context`.

    Half an answer is never trained: it would teach the model to stop in the middle. A renderer that
    strips thoughts gives one item per exchange. Raises RowError for what the side or the model's
    own format can't hold; with `skip_bad` its dialogue is counted and left out.
    """
    lacks = unmet(renderer)
    for given in dialogues:
        try:
            one = _writable(given, side, lacks)
        except RowError as error:
            if not skip_bad:
                raise
            counts.unreadable.append(error)
            continue
        parts = exchanges(one) if renderer.style.strips_thoughts else [one]
        fitting = [found for part in parts if (found := _encoded(part, renderer, context, counts))]
        counts.dialogues += bool(fitting)
        counts.without_answer += not fitting
        yield from fitting


def _writable(given: Dialogue, side: Side, lacks: Collection[Demand]) -> Dialogue:
    """The dialogue from the side; raises RowError, with the dialogue's name, if it can't be."""
    try:
        one = side(given)
        for demand, error in demands(one).items():
            if demand in lacks:
                raise error
    except RowError as error:
        field = f"dialogue {given.id}, {error.field}"
        raise RowError(field, error.reason, given.file) from error
    return one


def exchanges(given: Dialogue) -> list[Dialogue]:
    """One dialogue per exchange (the turns before, between and after texts of the user) that has an
    answer.

    Each begins with all that was said before, and trains the answers of its own exchange: what the
    agent was asked when it wrote them, if a prompt leaves out the thoughts before.
    """
    asked = [i for i, message in enumerate(given.messages) if message["role"] == "user"]
    found = []
    # What comes before the first text, such as a greeting, is an exchange of its own: with the text
    # in the prompt it would lose its thoughts.
    for start, end in pairwise([0, *asked, len(given.messages)]):
        trained = frozenset(
            index
            for index in range(start, end)
            if given.messages[index]["role"] == "assistant"
            and (given.trained is None or index in given.trained)
        )
        if trained:
            found.append(replace(given, messages=given.messages[:end], trained=trained))
    return found


def _encoded(
    one: Dialogue, renderer: Renderer, context: int, counts: TokenCounts
) -> Encoded | None:
    ids, mask = renderer.dialogue(one.messages, trained=one.trained)
    end = last_answer_within(mask, context)
    counts.over_length += len(ids) - end if len(ids) > context else 0
    counts.over_length_answers += sum(mask[end:])
    if not end:
        return None
    trained = sum(mask[:end])
    counts.answer += trained
    counts.context += end - trained
    ids_s, mask_s = np.asarray(ids[:end], "<i4"), np.asarray(mask[:end], "u1")
    return Encoded(ids_s, mask_s, (one.file, one.id))


def last_answer_within(mask: list[int], context: int) -> int:
    """Length in tokens up to the last answer that ends within `context` tokens; 0 if none does.

    An answer is a run of ones; its last token is the end tag.
    """
    end = min(context, len(mask))
    if end < len(mask) and mask[end] and mask[end - 1]:  # cuts an answer: step back over it
        while end and mask[end - 1]:
            end -= 1
    while end and not mask[end - 1]:
        end -= 1
    return end


def pack(lengths: Sequence[int], context: int) -> list[list[int]]:
    """Packs sequences into rows of at most `context` tokens; indices of the sequences per row.

    Best fit, longest first: a sequence goes into the fullest row that has room for it. A sequence
    longer than `context` gets a row of its own.
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


def balance(lengths: Sequence[int], count: int) -> list[list[int]]:
    """Distributes sequences over `count` rows of similar length; indices per row.

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
