"""What the tiny tokenizer is trained on: a job's dialogues and policies as tag-free texts."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sea_data.formats.dialogue import Dialogue, dialogue
from sea_data.formats.errors import RowError
from sea_data.formats.sides import agent_side, exchange
from sea_env.tokens import markup
from sea_env.tokens.messages import Message


def texts(dialogues: Iterable[Sequence[Message]], policies: Iterable[str] = ()) -> Iterator[str]:
    """The text segments of every dialogue, then the policies (twice: a merge needs a pair)."""
    for messages in dialogues:
        for segment in markup.dialogue(messages):
            if not segment.tag:
                yield segment.text
    for policy in policies:
        yield policy
        yield policy


def both_sides(dialogues: Iterable[Dialogue]) -> Iterator[Sequence[Message]]:
    """Every dialogue as the agent's model and as the user's model will see it."""
    for given in dialogues:
        yield agent_side(given).messages
        yield exchange(given).messages


def from_rows(rows: Iterable[Mapping[str, Any]]) -> Iterator[Sequence[Message]]:
    """Both sides of every usable `sft` row; what is wrong with others is reported elsewhere.

    Without the user's side its prompts would be spelled in bytes, half as long again.
    """
    for row in rows:
        try:
            yield from both_sides([dialogue(row)])
        except RowError:
            continue
