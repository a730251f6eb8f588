"""Dialogues -> token ids and masks within the context length, with a count of every token.

The trainer trains on what `encode` yields; `sea data stats` shows the counts beforehand.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sea_data.formats.dialogue import Dialogue
from sea_env.tokens.renderer import Renderer


@dataclass
class Tokens:
    """Where the tokens of all dialogues went."""

    answer: int = 0
    """Trained: what the trained role writes, thinking and end tag included."""
    context: int = 0
    """Read but not trained: everything else up to the last answer that fits."""
    over_length: int = 0
    """Left out: answers that do not end within the context length, and what leads to them."""
    over_length_answers: int = 0
    """Of these, tokens that would have been trained."""
    dialogues: int = 0
    """Dialogues that are trained on."""
    without_answer: int = 0
    """Dialogues of which no answer fits, or which have none."""

    def as_metrics(self) -> dict[str, float]:
        """For a stage's progress."""
        return {
            "data_dialogues": float(self.dialogues),
            "data_answer_tokens": float(self.answer),
            "data_context_tokens": float(self.context),
            "data_over_length_tokens": float(self.over_length),
            "data_over_length_answer_tokens": float(self.over_length_answers),
            "data_dialogues_without_answer": float(self.without_answer),
        }


@dataclass(frozen=True)
class Encoded:
    """One dialogue: `ids` and `mask` of one length; the mask is 1 on answers."""

    ids: NDArray[np.int32]
    mask: NDArray[np.uint8]


def encode(
    dialogues: Iterable[Dialogue], renderer: Renderer, context: int, counts: Tokens
) -> Iterator[Encoded]:
    """Renders dialogues of one side; a dialogue ends after its last answer that fits.

    Half an answer is never trained: it would teach the model to stop in the middle.
    """
    for one in dialogues:
        ids, mask = renderer.dialogue(one.messages, trained=one.trained)
        end = last_answer_within(mask, context)
        counts.over_length += len(ids) - end if len(ids) > context else 0
        counts.over_length_answers += sum(mask[end:])
        if not end:
            counts.without_answer += 1
            continue
        trained = sum(mask[:end])
        counts.dialogues += 1
        counts.answer += trained
        counts.context += end - trained
        yield Encoded(np.asarray(ids[:end], "<i4"), np.asarray(mask[:end], "u1"))


def last_answer_within(mask: list[int], context: int) -> int:
    """Length up to the end of the last answer that ends within `context` tokens; 0 for none.

    An answer is a run of ones; its last token is the end tag.
    """
    end = min(context, len(mask))
    if end < len(mask) and mask[end] and mask[end - 1]:  # cuts an answer: step back over it
        while end and mask[end - 1]:
            end -= 1
    while end and not mask[end - 1]:
        end -= 1
    return end
