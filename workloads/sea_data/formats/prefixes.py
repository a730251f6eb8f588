"""Which rows of a dialogue to train on, so that each assistant turn is trained once. Pure.

A published row is one assistant turn with all before it, so most rows are prefixes of a longer
one. A chain of digests, one a message, tells: a row whose last digest stands in another row is
contained in it. What a dialogue's other branches share with an earlier one is context only.
"""

import hashlib
import json
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sea_data.formats.dialogue import Dialogue
from sea_env.tokens.messages import calls_of


@dataclass(frozen=True, slots=True)
class Facts:
    """What is kept of a row while the file is read."""

    position: int
    digests: "array[int]"
    """64 bits a message: of it and all before it, thoughts left out."""
    assistant: bytes
    """1 where the message is the assistant's, one byte a message."""
    whole: bool

    @property
    def last(self) -> int:
        return self.digests[-1]


@dataclass(frozen=True, slots=True)
class Chosen:
    """One row to train on: the indices of its messages that no other row trains."""

    position: int
    trained: frozenset[int]
    answers: dict[int, int]
    """Index of a message -> position of the row whose answer it is."""


def facts(position: int, found: Dialogue) -> Facts:
    """The digests of one row."""
    chain = hashlib.blake2b(digest_size=8)
    digests = array("Q")
    for message in found.messages:
        calls = [[call["name"], call.get("arguments") or {}] for call in calls_of(message)]
        body = [message["role"], message["content"], calls]
        chain.update(json.dumps(body, sort_keys=True).encode())
        digests.append(int.from_bytes(chain.digest(), "big"))
    assistant = bytes(message["role"] == "assistant" for message in found.messages)
    return Facts(position, digests, assistant, found.whole)


def choose(rows: Sequence[Facts]) -> list[Chosen]:
    """The rows of one dialogue to train on, in the order of the file."""
    answers: dict[int, int] = {}
    for row in rows:
        answers.setdefault(row.last, row.position)
    seen: set[int] = set()
    chosen = []
    for row in sorted(rows, key=lambda row: (-len(row.digests), row.position)):
        if row.last not in seen:
            chosen.append(_chosen(row, answers, seen))
            seen.update(row.digests)
    return sorted(chosen, key=lambda one: one.position)


def _chosen(row: Facts, answers: dict[int, int], seen: Iterable[int]) -> Chosen:
    fresh = [index for index, digest in enumerate(row.digests) if digest not in seen]
    trained = (
        index
        for index in fresh
        if not row.assistant[index] or row.whole or row.digests[index] in answers
    )
    known = {i: answers[d] for i, d in enumerate(row.digests) if d in answers}
    return Chosen(row.position, frozenset(trained), known)
