"""Selects the rows of a dialogue to train on, so that each assistant turn is trained once. Pure.

A published row is one assistant turn with all turns before it, so most rows are prefixes of a
longer one. A chain of digests, one per message, shows it: if a row's last digest occurs in another
row, the other row contains it. What branches of a dialogue share is trained in one branch only.
"""

import hashlib
import json
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sea_data.formats.dialogue import Dialogue
from sea_env.tokens.messages import calls_of


@dataclass(frozen=True, slots=True)
class RowDigests:
    """What is kept in memory of each row while its file is read."""

    position: int
    digests: "array[int]"
    """64 bits per message, of it and all messages before it, without thoughts."""
    assistant: bytes
    """One byte per message: 1 if it is the assistant's, else 0."""
    whole: bool

    @property
    def last(self) -> int:
        return self.digests[-1]


@dataclass(frozen=True, slots=True)
class SelectedRow:
    """One row to train on."""

    position: int
    trained: frozenset[int]
    """Indices of the messages that this row trains and no other does."""
    answers: dict[int, int]
    """Index of a message -> position of the row that has it as its answer."""


def row_digests(position: int, found: Dialogue) -> RowDigests:
    """The digests of the row at `position`."""
    chain = hashlib.blake2b(digest_size=8)
    digests = array("Q")
    for message in found.messages:
        calls = [[call["name"], call.get("arguments") or {}] for call in calls_of(message)]
        # Without thoughts: not all rows of a dialogue repeat those of its earlier turns.
        body = [message["role"], message["content"], calls]
        chain.update(json.dumps(body, sort_keys=True).encode())
        digests.append(int.from_bytes(chain.digest(), "big"))
    assistant = bytes(message["role"] == "assistant" for message in found.messages)
    return RowDigests(position, digests, assistant, found.whole)


def select_rows(rows: Sequence[RowDigests]) -> list[SelectedRow]:
    """The rows of one dialogue to train on, in file order."""
    answers: dict[int, int] = {}
    for row in rows:
        answers.setdefault(row.last, row.position)
    seen: set[int] = set()
    chosen = []
    # Longest first: when a prefix comes, the row that contains it has been seen.
    for row in sorted(rows, key=lambda row: (-len(row.digests), row.position)):
        # A chain of digests: the last one stands for the whole row.
        if row.last not in seen:
            chosen.append(_selected(row, answers, seen))
            seen.update(row.digests)
    return sorted(chosen, key=lambda one: one.position)


def _selected(row: RowDigests, answers: dict[int, int], seen: Iterable[int]) -> SelectedRow:
    # What an earlier branch trains already is context here, so that no turn counts twice.
    fresh = [index for index, digest in enumerate(row.digests) if digest not in seen]
    trained = (
        index
        for index in fresh
        if not row.assistant[index] or row.whole or row.digests[index] in answers
    )
    known = {i: answers[d] for i, d in enumerate(row.digests) if d in answers}
    return SelectedRow(row.position, frozenset(trained), known)
